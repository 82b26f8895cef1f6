package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"postern/internal/client"
)

func dial(t *testing.T, port int) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestViolationsAreFound: a harness that finds nothing must be one that would.
func TestViolationsAreFound(t *testing.T) {
	t.Parallel()
	at := time.Now()
	one := func(to, id string) record { return record{PID: 7, To: to, ID: id, At: at, Replied: true} }
	for name, tt := range map[string]struct {
		promise string
		records []record
		rows    []client.Delivery
		want    string // "" for nothing
	}{
		"all is well":          {atLeastOnce, []record{one("a", "1")}, []client.Delivery{{Email: "a", State: "sent"}}, ""},
		"sent to nobody":       {atLeastOnce, nil, []client.Delivery{{Email: "a", State: "sent"}}, "invariant 1"},
		"nobody's turn":        {atLeastOnce, nil, []client.Delivery{{Email: "a", State: "pending"}}, "invariant 1"},
		"failed":               {atLeastOnce, []record{one("a", "1")}, []client.Delivery{{Email: "a", State: "failed"}}, "invariant 1"},
		"twice":                {atLeastOnce, []record{one("a", "1"), one("a", "1")}, nil, "invariant 2"},
		"twice, in flight":     {atLeastOnce, []record{one("b", "1"), one("b", "1")}, nil, ""},
		"thrice, in flight":    {atLeastOnce, []record{one("b", "1"), one("b", "1"), one("b", "1")}, nil, "invariant 2"},
		"twice, at most once":  {atMostOnce, []record{one("b", "1"), one("b", "1")}, nil, "invariant 3"},
		"unknown":              {atLeastOnce, nil, []client.Delivery{{Email: "a", State: "unknown"}}, "without having been asked"},
		"unknown, as asked":    {atMostOnce, nil, []client.Delivery{{Email: "a", State: "unknown"}}, ""},
		"another Message-ID":   {atLeastOnce, []record{one("b", "1"), one("b", "2")}, nil, "invariant 9"},
		"cut, then killed":     {atLeastOnce, []record{{PID: 8, To: "a", ID: "1", Cut: true}, one("a", "1")}, nil, ""},
		"killed":               {atLeastOnce, []record{{PID: 8, To: "a", ID: "1"}, one("a", "1")}, nil, "invariant 2"},
		"the reply was lost":   {atLeastOnce, []record{{PID: 7, To: "a", ID: "1"}, one("a", "1")}, nil, ""},
		"of an unknown sender": {atLeastOnce, []record{{To: "a", ID: "1", Replied: true}}, nil, "no known task"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCourse(nil, tt.promise, 1)
			c.explained["b"], c.dead[8] = 1, true
			var o outcome
			times := c.checkRecords(tt.records)
			for _, r := range tt.rows {
				c.checkRow(r, times[r.Email], &o)
			}
			for address, n := range times {
				c.checkTimes(address, n)
			}
			got := strings.Join(c.violations, "; ")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("found %q; want %q", got, tt.want)
			}
		})
	}
}
