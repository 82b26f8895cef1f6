package bolt

import (
	"errors"
	"syscall"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"postern/internal/campaign"
)

// tx is a transaction that knows whether a write has changed anything. What
// get returns is valid until the transaction ends.
type tx struct {
	bolt  *bbolt.Tx
	dirty bool
}

// get gives nil where the key is not there.
func (t *tx) get(bucket string, key []byte) []byte {
	return t.bolt.Bucket([]byte(bucket)).Get(key)
}

func (t *tx) put(bucket string, key, value []byte) error {
	t.dirty = true
	return t.bolt.Bucket([]byte(bucket)).Put(key, value)
}

func (t *tx) delete(bucket string, key []byte) error {
	t.dirty = true
	return t.bolt.Bucket([]byte(bucket)).Delete(key)
}

func (t *tx) cursor(bucket string) *bbolt.Cursor {
	return t.bolt.Bucket([]byte(bucket)).Cursor()
}

// damaged is the error about a stored value that cannot be read.
func damaged(bucket string, key []byte, cause error) error {
	return campaign.Wrap(campaign.CodeInternal, cause, "the store is damaged: value of key %q in bucket %q", key, bucket)
}

// diskError makes an error of the file system or of bbolt one that says what
// to do. Errors that have a code, and contexts' errors, pass.
func diskError(err error, path string) error {
	if err == nil {
		return nil
	}
	if _, coded := errors.AsType[*campaign.Error](err); coded {
		return err
	}
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, bolterrors.ErrMaxSizeReached} {
		if errors.Is(err, full) {
			return campaign.Wrap(campaign.CodeUnavailable, err, "no space is left for %s: free or add disk space, then try again", path)
		}
	}
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return campaign.Wrap(campaign.CodeUnavailable, err, "the store %s is closed", path)
	}
	return campaign.Wrap(campaign.CodeUnavailable, err, "cannot use %s: check its disk and its permissions, then try again", path)
}
