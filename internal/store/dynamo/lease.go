package dynamo

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
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
	attrClosed   = "x"
	attrSize     = "n"
	attrSettled  = "s"
	attrDeferred = "d"
	attrCursor   = "fc"
	attrChunks   = "fk"
	attrFinal    = "ff"
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

// dueShards is how many partitions of the due index share its writes.
const dueShards = 8

func dueShard(n uint32) string { return fmt.Sprintf("due#%d", n) }

// newLease is the item of a lease that is free from the beginning.
func newLease(key store.LeaseKey, dueAt time.Time, size int) item {
	it := leaseItemKey(key)
	it[attrFence], it[attrVersion], it[attrSize] = num(0), num(0), num(size)
	it[attrDueShard], it[attrDueAt] = str(dueShard(spread(key, dueShards))), millis(dueAt)
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
		Progress: campaign.Progress{Settled: octets(it[attrSettled])},
	}
	var err error
	if l.Progress.Deferred, err = unpackDeferred(octets(it[attrDeferred])); err != nil {
		return store.Lease{}, damaged(err, "lease "+chunkID(key))
	}
	return l, nil
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
	if len(p.Deferred) == 0 {
		u.remove(attrDeferred)
		return nil
	}
	packed, err := packDeferred(p.Deferred)
	if err != nil {
		return campaign.Wrap(campaign.CodeInternal, err, "a chunk's progress cannot be packed")
	}
	u.set(attrDeferred, bin(packed))
	return nil
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
