// Package bolt keeps Postern's state in one file, postern.db, with nothing
// else installed: a bbolt database (a copy-on-write B+tree; one writer, many
// readers). It implements store.Store for one process; the file is locked
// while it is open.
//
// # Durability
//
// A write returns after the commit that holds it has been synced to the disk.
// Writes that arrive while a commit is under way share the next one (see
// committer), so a lone writer waits for nobody and many writers share the
// cost of a sync.
//
// # Layout
//
// Every bucket is at the top. An id is a campaign's id as it is; a number is 4
// octets, a version and a time 8, all big-endian, so that keys sort as their
// parts do; times are milliseconds since 1970.
//
//	meta            "format"              "3"
//	meta            "signal"              the Signal, 8 octets
//	contacts        contact key           contact: statistics first, then the rest
//	campaigns       id                    JSON of campaign.Campaign and the calls' tokens
//	content         id digest number      a piece of content, from 0
//	unfinished      id                    nothing; content is there, the campaign is not yet
//	idempotency     SHA-256 of key        request digest, campaign id
//	idempotency_age time, SHA-256 of key  nothing
//	leases          id number             lease and the token of its holder's last write
//	due             time, id number       nothing; one entry for each open lease, held
//	                                      ones at store.HeldDue
//	audience        id number             campaign.Audience.Pack as it is
//	deliveries      id number version     the rows of one checkpoint or Absorb
//	audit           id number link        a link of the audit trail: its payload, then its
//	                                      hash; number 0 is the campaign's own chain
//	totals          id                    campaign.Totals
//	cells           key                   version, value
//
// UUIDv7 ids sort by age, so campaigns are listed newest first by walking
// backwards, and a campaign's leases, audience and deliveries lie together.
//
// A checkpoint's rows are one value, under the version that the chunk's lease
// had then: one insertion for up to 97 rows, encoded outside of the
// transaction. Reading a chunk's deliveries merges its values; the row of the
// highest version counts. A contact's statistics lead its value so that
// closing a chunk replaces them without decoding the rest; an audience is
// frozen in key order, so the contacts of a chunk share few pages.
//
// Content is in pieces of 64 KB: bbolt keeps two values at least on a leaf page
// and rewrites the whole page when one of them changes, so a value of many
// megabytes is written and held in memory again for each of its neighbours.
// Large content goes ahead of its campaign, a megabyte to a transaction, with
// an entry in unfinished. Content without a campaign is not to be read; what a
// crash leaves of it goes when the store is next opened.
//
// Values other than content, audiences, links and JSON begin with a version octet
// and are made of varints (encoding/binary) and strings behind their lengths.
//
// A token is a digest of a call with its arguments. It lets a call that is
// repeated after an ambiguous error recognise its own write. A lease keeps it
// with the version that the write made, so an Absorb, which moves the version
// on, does not hide it.
//
// What is erased is out of the database at once; its octets may stay in
// unused pages of the file until those are used again. Passwords are stored
// sealed only.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"postern/internal/campaign"
	"postern/internal/store"
)

// FileName is the database's name in its directory.
const FileName = "postern.db"

// Exists says whether there is a store in dir.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, FileName))
	return err == nil
}

// lockPatience is how long Open waits for another process to let go of the
// file: long enough for one that is just ending.
const lockPatience = time.Second

const (
	metaBucket           = "meta"
	contactsBucket       = "contacts"
	campaignsBucket      = "campaigns"
	contentBucket        = "content"
	unfinishedBucket     = "unfinished"
	idempotencyBucket    = "idempotency"
	idempotencyAgeBucket = "idempotency_age"
	leasesBucket         = "leases"
	dueBucket            = "due"
	audienceBucket       = "audience"
	deliveriesBucket     = "deliveries"
	auditBucket          = "audit"
	totalsBucket         = "totals"
	cellsBucket          = "cells"
)

func bucketNames() []string {
	return []string{
		metaBucket, contactsBucket, campaignsBucket, contentBucket, unfinishedBucket, idempotencyBucket, idempotencyAgeBucket,
		leasesBucket, dueBucket, audienceBucket, deliveriesBucket, auditBucket, totalsBucket, cellsBucket,
	}
}

const (
	formatKey = "format"
	format    = "3"
)

// Store is the embedded store. Open makes it.
type Store struct {
	db      *bbolt.DB
	path    string
	commits *committer
	metrics *metrics
	// large has a place for the one call that writes large content.
	large chan struct{}

	// The index keys behind which the next DueLeases answer begins.
	dueMu     sync.Mutex
	heldAfter []byte
	freeAfter []byte
}

var _ store.Store = (*Store)(nil)

// Open opens the store in a directory, and makes both (0700, 0600) where they
// are not there yet. CodeUnavailable when another process has it open, or the
// directory or the file cannot be used.
func Open(dir string) (*Store, error) { return open(dir, options{}) }

// OpenMeasured is Open with metrics for reg.
func OpenMeasured(dir string, reg prometheus.Registerer) (*Store, error) {
	return open(dir, options{registerer: reg})
}

type options struct {
	maxOctets  int                   // of the file; 0 for no bound
	registerer prometheus.Registerer // nil for none
}

func open(dir string, o options) (*Store, error) {
	if err := makeDirectory(dir); err != nil {
		return nil, campaign.Wrap(campaign.CodeUnavailable, err, "cannot make the data directory %s", dir)
	}
	path := filepath.Join(dir, FileName)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockPatience,
		// The map finds free pages in constant time in large, fragmented files.
		FreelistType: bbolt.FreelistMapType,
		MaxSize:      o.maxOctets,
	})
	if err != nil {
		return nil, openError(err, path)
	}
	if err := prepare(db, path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	m := newMetrics(o.registerer, path)
	return &Store{db: db, path: path, metrics: m, commits: startCommitter(db, path, m), large: make(chan struct{}, 1)}, nil
}

func openError(err error, path string) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return campaign.Wrap(campaign.CodeUnavailable, err,
			"%s is in use by another process: stop that one, or use another data directory", path)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return campaign.Wrap(campaign.CodeUnavailable, err,
			"%s is not a database of Postern or is damaged: restore it, or move it away to begin with an empty one", path)
	}
	return diskError(err, path)
}

// prepare makes the buckets, refuses another format, takes away what a crash
// has left of large content, and sees that a file that is new will still have
// its name after a power failure.
func prepare(db *bbolt.DB, path string) error {
	err := db.Update(func(btx *bbolt.Tx) error {
		for _, name := range bucketNames() {
			if _, err := btx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		meta := btx.Bucket([]byte(metaBucket))
		found := string(meta.Get([]byte(formatKey)))
		if found != "" && found != format {
			return errFormat(path, found)
		}
		if err := meta.Put([]byte(formatKey), []byte(format)); err != nil {
			return err
		}
		return (&tx{bolt: btx}).sweep()
	})
	if err == nil {
		err = syncDirectory(filepath.Dir(path))
	}
	if err != nil {
		return diskError(err, path)
	}
	return nil
}

// errFormat is about a file that another version has written. What wants to
// write it was rolled back.
func errFormat(path, found string) error {
	writer := "a newer version of Postern"
	if len(found) < len(format) || len(found) == len(format) && found < format {
		writer = "an older version of Postern, from before its first release"
	}
	return campaign.Errorf(campaign.CodeUnavailable,
		"%s has format %q, which %s has written, and this version reads %q. Its data is unharmed: nothing in it was changed. Go on with the version "+
			"that wrote it; or, to begin with an empty store, name another DATA_DIR, or move the file and the key file beside it away together. "+
			"There is no conversion", path, found, writer, format)
}

// makeDirectory makes a directory that outlives a power failure, unless it is
// there.
func makeDirectory(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(dir))
}

func syncDirectory(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // the directory is the operator's own choice
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Ping says whether the file can be read and its buckets are there.
func (s *Store) Ping(ctx context.Context) error {
	return s.view(ctx, func(t *tx) error {
		for _, name := range bucketNames() {
			if t.bolt.Bucket([]byte(name)) == nil {
				return campaign.Errorf(campaign.CodeInternal, "%s is damaged: it has no bucket %q", s.path, name)
			}
		}
		return nil
	})
}

// Close waits for the commit under way and lets go of the file.
func (s *Store) Close() error {
	s.commits.stop()
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", s.path, err)
	}
	return nil
}

// view runs fn on a consistent snapshot of all that is committed.
func (s *Store) view(ctx context.Context, fn func(t *tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	began := time.Now()
	err := diskError(s.db.View(func(btx *bbolt.Tx) error { return fn(&tx{bolt: btx}) }), s.path)
	s.metrics.called(opView, began, err)
	return err
}

// update runs fn in a transaction and returns when it is durable. fn may run
// more than once, after a rollback: it sets all its results in each run.
func (s *Store) update(ctx context.Context, fn func(t *tx) error) error {
	began := time.Now()
	err := s.commits.do(ctx, fn)
	s.metrics.called(opUpdate, began, err)
	return err
}
