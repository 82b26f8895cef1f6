package smtptest_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"postern/internal/mailer/smtptest"
)

// TestVacant: connections are refused, and a relay may come and go.
func TestVacant(t *testing.T) {
	t.Parallel()
	addr, release, err := smtptest.Vacant()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for range 3 {
		if c, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%v, %v", c, err)
		}
		relay := start(t, smtptest.Config{Addr: addr})
		if relay.Addr() != addr {
			t.Errorf("the relay is at %s, not at %s", relay.Addr(), addr)
		}
		dial(t, relay).expect("220")
		relay.Close()
	}
}
