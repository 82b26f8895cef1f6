package dynamo

import (
	"crypto/sha256"
	"encoding/json"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
	"postern/internal/store"
)

// Keys of EmailWork. The package comment has the whole list.
const (
	pkListing  = "campaigns"
	skLease    = "lease"
	skAudience = "audience"
)

// Attributes of a lease.
const (
	attrOwner    = "o"
	attrFence    = "f"
	attrVersion  = "v"
	attrStamp    = "w"
	attrStamped  = "wv"
	attrClosed   = "x"
	attrDone     = "e"
	attrSize     = "n"
	attrSettled  = "s"
	attrDeferred = "d"
	attrIntents  = "si"
	attrCounted  = "sc"
	attrCursor   = "fc"
	attrChunks   = "fk"
	attrFinal    = "ff"
	attrNext     = "rn"
	attrStates   = "rs"
	attrFrom     = "rf"
	attrDueShard = "due_shard"
	attrDueAt    = "due_at"
)

func workKey(pk, sk string) item { return item{"pk": str(pk), "sk": str(sk)} }

// chunkID is the partition key of all that belongs to one unit of work, in
// EmailWork and in EmailDeliveries. Each chunk has one of its own, which
// spreads a campaign's writes over partitions.
func chunkID(key store.LeaseKey) string {
	return "c#" + key.CampaignID + "#" + strconv.Itoa(key.Number)
}

// leaseKeyOf reads what chunkID made.
func leaseKeyOf(id string) (store.LeaseKey, bool) {
	id, is := strings.CutPrefix(id, "c#")
	cut := strings.LastIndexByte(id, '#')
	if !is || cut < 0 {
		return store.LeaseKey{}, false
	}
	number, err := strconv.Atoi(id[cut+1:])
	return store.LeaseKey{CampaignID: id[:cut], Number: number}, err == nil
}

func leaseItemKey(key store.LeaseKey) item { return workKey(chunkID(key), skLease) }

// spread gives a number below n that is the same for a key every time.
func spread(key store.LeaseKey, n uint32) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(chunkID(key)))
	return h.Sum32() % n
}

// newLease is the item of a lease that is free from the beginning.
func newLease(key store.LeaseKey, dueAt time.Time, size int) item {
	it := leaseItemKey(key)
	it[attrFence], it[attrVersion], it[attrSize] = num(0), num(0), num(size)
	it[attrDueShard], it[attrDueAt] = str(freeShard(key)), millis(dueAt)
	return it
}

func leaseOf(it item) (store.Lease, error) {
	key, ok := leaseKeyOf(text(it["pk"]))
	if !ok {
		return store.Lease{}, campaign.Errorf(campaign.CodeInternal, "stored lease %q has no number", text(it["pk"]))
	}
	l := store.Lease{
		Key: key, Owner: text(it[attrOwner]), Fence: integer(it[attrFence]), Version: integer(it[attrVersion]),
		DueAt: fromMillis(it[attrDueAt]), Closed: truth(it[attrClosed]), Size: int(integer(it[attrSize])),
		Freeze: store.Freeze{
			Cursor: text(it[attrCursor]), Chunks: int(integer(it[attrChunks])), Final: truth(it[attrFinal]),
		},
		Reopen: reopenOf(it),
		Progress: campaign.Progress{
			Settled: octets(it[attrSettled]), Intents: octets(it[attrIntents]), Counted: octets(it[attrCounted]),
			Chain: chainOf(it, attrLinks, attrHead),
		},
	}
	var err error
	if l.Progress.Deferred, err = unpackDeferred(octets(it[attrDeferred])); err != nil {
		return store.Lease{}, damaged(err, "lease "+chunkID(key))
	}
	return l, nil
}

func reopenOf(it item) store.Reopen {
	r := store.Reopen{Next: int(integer(it[attrNext])), StatesFrom: int(integer(it[attrFrom]))}
	for _, state := range texts(it[attrStates]) {
		r.States = append(r.States, campaign.DeliveryState(state))
	}
	return r
}

// setReopen writes how far a Restart is into an update of a control lease.
func (u *update) setReopen(r store.Reopen) {
	if r.Next == 0 {
		u.remove(attrNext)
		u.remove(attrStates)
		u.remove(attrFrom)
		return
	}
	states := make([]string, len(r.States))
	for i, state := range r.States {
		states[i] = string(state)
	}
	u.set(attrNext, num(r.Next))
	u.set(attrStates, strs(states))
	u.set(attrFrom, num(r.StatesFrom))
}

// deferredRow is a deferred recipient in a lease item, packed with the others.
type deferredRow struct {
	Index    int    `json:"i"`
	Attempts int    `json:"t"`
	Next     int64  `json:"n"`
	Reply    string `json:"r,omitempty"`
}

func packDeferred(list []campaign.Deferred) ([]byte, error) {
	rows := make([]deferredRow, len(list))
	for i, d := range list {
		rows[i] = deferredRow{d.Index, d.Attempts, d.Next.UnixMilli(), d.Reply}
	}
	return pack(rows)
}

func unpackDeferred(packed []byte) ([]campaign.Deferred, error) {
	var rows []deferredRow
	if err := unpack(packed, &rows); err != nil {
		return nil, err
	}
	list := make([]campaign.Deferred, len(rows))
	for i, r := range rows {
		list[i] = campaign.Deferred{
			Index: r.Index, Attempts: r.Attempts, Reply: r.Reply,
			Next: time.UnixMilli(r.Next).UTC(),
		}
	}
	return list, nil
}

// asStored gives progress as it will be read: its times in UTC.
func asStored(p campaign.Progress) campaign.Progress {
	p = p.Clone()
	for i := range p.Deferred {
		d := &p.Deferred[i]
		d.Next = time.UnixMilli(d.Next.UnixMilli()).UTC()
	}
	return p
}

// setProgress writes a chunk's progress into an update of its lease.
func (u *update) setProgress(p campaign.Progress) error {
	u.set(attrSettled, bin(p.Settled))
	u.setBitmap(attrIntents, p.Intents)
	u.setBitmap(attrCounted, p.Counted)
	u.setChain(p.Chain)
	return u.setDeferred(p.Deferred)
}

func (u *update) setDeferred(list []campaign.Deferred) error {
	if len(list) == 0 {
		u.remove(attrDeferred)
		return nil
	}
	packed, err := packDeferred(list)
	if err != nil {
		return campaign.Wrap(campaign.CodeInternal, err, "a chunk's progress cannot be packed")
	}
	u.set(attrDeferred, bin(packed))
	return nil
}

// setBitmap leaves an attribute out of the item where there is no bitmap.
func (u *update) setBitmap(attribute string, b campaign.Bitmap) {
	if len(b) == 0 {
		u.remove(attribute)
		return
	}
	u.set(attribute, bin(b))
}

// stamp identifies a write to a lease by what it does. It is stored with the
// version that the write makes, so that the same call made again is told
// apart from another one that came between.
func stamp(op string, args ...any) (types.AttributeValue, error) {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(append([]any{op}, args...)); err != nil {
		return nil, campaign.Wrap(campaign.CodeInternal, err, "the arguments of %s cannot be encoded", op)
	}
	const enough = 16
	return bin(h.Sum(nil)[:enough]), nil
}
