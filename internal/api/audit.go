package api

import (
	"bufio"
	"encoding/base64"
	"net/http"
	"time"
)

// getAudit streams a campaign's audit trail. The lines are not kept: an answer
// that cannot be finished is cut off, and lacks the line that ends it.
func (a *api) getAudit(w http.ResponseWriter, r *http.Request) {
	id, err := campaignID(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	s := &stream{w: w, control: http.NewResponseController(w)}
	lines := bufio.NewWriterSize(s, answerPiece)
	if err = a.service.Audit(r.Context(), id, lines); err == nil {
		err = lines.Flush()
	}
	switch {
	case err == nil:
	case !s.begun:
		a.fail(w, r, named(err, campaignNotFound))
	default:
		e := exchangeOf(r.Context())
		a.opts.Logger.Error().Err(err).Str("request_id", e.id).Str("campaign", e.about).Msg("the answer with an audit trail was cut off")
		panic(http.ErrAbortHandler)
	}
}

// stream is an answer that is made while it goes. It takes as long as it
// takes, so each piece of it moves the connection's read deadline, too.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

// Write implements io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "application/x-ndjson")
		s.w.WriteHeader(http.StatusOK)
	}
	_ = s.control.SetReadDeadline(time.Now().Add(workTimeout)) // what has no connection to it has no deadline
	return s.w.Write(p)
}

// auditKeysOut is the body of GET /audit/key.
type auditKeysOut struct {
	Algorithm string        `json:"algorithm"`
	Keys      []auditKeyOut `json:"keys"`
}

type auditKeyOut struct {
	ID        string `json:"id"`
	PublicKey string `json:"public_key"` // base64 of 32 octets
}

func (a *api) getAuditKey(w http.ResponseWriter, r *http.Request) {
	keys, err := a.service.AuditKeys()
	if err != nil {
		a.fail(w, r, err)
		return
	}
	out := auditKeysOut{Algorithm: "Ed25519", Keys: make([]auditKeyOut, len(keys))}
	for i, key := range keys {
		out.Keys[i] = auditKeyOut{ID: key.ID.String(), PublicKey: base64.StdEncoding.EncodeToString(key.Public)}
	}
	ok(w, out)
}
