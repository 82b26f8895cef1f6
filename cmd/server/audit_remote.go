package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// answerWithin is how long the service may take to begin an answer.
const answerWithin = time.Minute

// remoteTrails reads audit trails through the API of a service.
type remoteTrails struct {
	base  string
	token string
	http  *http.Client
}

func newRemoteTrails(base, tokenFile string) (*remoteTrails, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, usageError("-url must be an http or https URL")
	}
	transport, _ := http.DefaultTransport.(*http.Transport)
	transport = transport.Clone()
	transport.ResponseHeaderTimeout = answerWithin
	r := &remoteTrails{base: strings.TrimSuffix(base, "/"), http: &http.Client{Transport: transport}}
	if tokenFile != "" {
		token, err := os.ReadFile(tokenFile) //nolint:gosec // G304: the operator names the file
		if err != nil {
			return nil, err
		}
		r.token = strings.TrimSpace(string(token))
	}
	return r, nil
}

// Close implements trails.
func (r *remoteTrails) Close() error {
	r.http.CloseIdleConnections()
	return nil
}

// Campaigns implements trails.
func (r *remoteTrails) Campaigns(ctx context.Context, each func(id string) error) error {
	for cursor := ""; ; {
		var page struct {
			Campaigns []struct {
				ID string `json:"campaign_id"`
			} `json:"campaigns"`
			Damaged []string `json:"damaged"`
			Next    *string  `json:"next_cursor"`
		}
		if err := r.json(ctx, "/campaigns?cursor="+url.QueryEscape(cursor), &page); err != nil {
			return err
		}
		for _, c := range page.Campaigns {
			if err := each(c.ID); err != nil {
				return err
			}
		}
		for _, id := range page.Damaged { // whose export says so
			if err := each(id); err != nil {
				return err
			}
		}
		if page.Next == nil {
			return nil
		}
		cursor = *page.Next
	}
}

// Export implements trails.
func (r *remoteTrails) Export(ctx context.Context, campaignID string, w io.Writer) error {
	body, err := r.get(ctx, "/campaigns/"+url.PathEscape(campaignID)+"/audit")
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	_, err = io.Copy(w, body)
	return err
}

// Keys implements trails.
func (r *remoteTrails) Keys(ctx context.Context) ([]ed25519.PublicKey, error) {
	var answer struct {
		Keys []struct {
			Public string `json:"public_key"`
		} `json:"keys"`
	}
	if err := r.json(ctx, "/audit/key", &answer); err != nil {
		return nil, err
	}
	var keys []ed25519.PublicKey
	for _, k := range answer.Keys {
		key, err := base64.StdEncoding.DecodeString(k.Public)
		if err != nil {
			return nil, fmt.Errorf("GET /audit/key: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (r *remoteTrails) json(ctx context.Context, path string, v any) error {
	body, err := r.get(ctx, path)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// maxProblem bounds what is read of an answer that is none, in octets.
const maxProblem = 4 << 10

// get gives the body of an answer.
func (r *remoteTrails) get(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer func() { _ = resp.Body.Close() }()
	problem, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem)) // as much as there is
	return nil, fmt.Errorf("GET %s: %s: %s", path, resp.Status, problem)
}
