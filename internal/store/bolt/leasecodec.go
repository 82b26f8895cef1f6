package bolt

import (
	"postern/internal/campaign"
	"postern/internal/store"
)

func encodeLease(v leaseValue) []byte {
	e := newEncoder(192 + 3*len(v.Progress.Settled) + 64*len(v.Progress.Deferred))
	e = append(e, v.token[:]...)
	e.int(v.made)
	e.bool(v.finished)
	e.string(v.Owner)
	e.int(v.Fence)
	e.int(v.Version)
	e.time(v.DueAt)
	e.bool(v.Closed)
	e.string(v.Freeze.Cursor)
	e.count(v.Freeze.Chunks)
	e.bool(v.Freeze.Final)
	e.reopen(v.Reopen)
	e.count(v.Size)
	e.progress(v.Progress)
	return e
}

func decodeLease(key store.LeaseKey, value []byte) (leaseValue, error) {
	v := leaseValue{Lease: store.Lease{Key: key}}
	d := newDecoder(value)
	if len(d.rest) < len(v.token) {
		return v, errValue
	}
	d.rest = d.rest[copy(v.token[:], d.rest):]
	v.made, v.finished = d.int(), d.bool()
	v.Owner = d.string()
	v.Fence, v.Version = d.int(), d.int()
	v.DueAt, v.Closed = d.time(), d.bool()
	v.Freeze = store.Freeze{Cursor: d.string(), Chunks: d.number(), Final: d.bool()}
	v.Reopen = d.reopen()
	v.Size = d.number()
	v.Progress = d.progress()
	return v, d.done()
}

func (e *encoder) reopen(r store.Reopen) {
	e.count(r.Next)
	e.count(len(r.States))
	for _, state := range r.States {
		e.string(string(state))
	}
	e.count(r.StatesFrom)
}

func (d *decoder) reopen() store.Reopen {
	r := store.Reopen{Next: d.number()}
	r.States = make([]campaign.DeliveryState, d.count())
	for i := range r.States {
		r.States[i] = campaign.DeliveryState(d.string())
	}
	r.StatesFrom = d.number()
	return r
}

func (e *encoder) progress(p campaign.Progress) {
	e.bytes(p.Settled)
	e.count(len(p.Deferred))
	for _, f := range p.Deferred {
		e.count(f.Index)
		e.count(f.Attempts)
		e.time(f.Next)
		e.string(f.Reply)
	}
	e.bytes(p.Intents)
	e.bytes(p.Counted)
	e.int(p.Chain.Links)
	e.bytes(p.Chain.Head[:])
}

func (d *decoder) progress() campaign.Progress {
	p := campaign.Progress{Settled: d.bytes()}
	n := d.count()
	p.Deferred = make([]campaign.Deferred, n)
	for i := range p.Deferred {
		p.Deferred[i] = campaign.Deferred{
			Index: d.number(), Attempts: d.number(), Next: d.time(), Reply: d.string(),
		}
	}
	p.Intents, p.Counted = d.bytes(), d.bytes()
	p.Chain.Links = d.int()
	if head := d.octets(); copy(p.Chain.Head[:], head) < len(p.Chain.Head) {
		d.fail()
	}
	return p
}
