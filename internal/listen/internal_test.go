package listen

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestSelfSignedIsRenewed: long before a certificate ends there is another one.
func TestSelfSignedIsRenewed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s, err := newSelfSigned("127.0.0.1:0", nil, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	current := func() *tls.Certificate {
		c, err := s.certificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if now.Before(c.Leaf.NotBefore) || now.Add(renewBefore).After(c.Leaf.NotAfter.Add(time.Second)) {
			t.Errorf("at %s the certificate is valid from %s to %s", now, c.Leaf.NotBefore, c.Leaf.NotAfter)
		}
		return c
	}
	first := current()
	now = now.Add(selfSignedFor - renewBefore - time.Hour)
	if current() != first {
		t.Error("renewed too early")
	}
	now = now.Add(2 * time.Hour)
	second := current()
	if second == first || second.Leaf.SerialNumber.Cmp(first.Leaf.SerialNumber) == 0 {
		t.Error("not renewed")
	}
}

// script is a listener whose connections are pipes.
type script struct{ conns chan net.Conn }

func (s script) Accept() (net.Conn, error) {
	conn, ok := <-s.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (s script) Close() error   { close(s.conns); return nil }
func (s script) Addr() net.Addr { return nil }

// TestLimit follows places by a clock that does not run by itself.
func TestLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := script{make(chan net.Conn, 10)}
		l := newLimit(inner, 2)
		accepted := make(chan *placed, 10)
		ended := make(chan error, 1)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					ended <- err
					return
				}
				accepted <- conn.(*placed)
			}
		}()
		for range 5 {
			_, conn := net.Pipe()
			inner.conns <- conn
		}
		a, b := <-accepted, <-accepted
		l.mark(b, false) // at work
		began := time.Now()
		c := <-accepted // in a's place
		if waited := time.Since(began); waited != patience {
			t.Errorf("a's place was free after %s", waited)
		}
		if _, err := a.Write(nil); err == nil || !a.gone || b.gone {
			t.Error("not a, who waited, made place")
		}
		l.mark(c, false)
		synctest.Wait()
		time.Sleep(time.Hour)
		if len(accepted) > 0 {
			t.Error("who was at work made place")
		}
		_ = b.Close()
		d := <-accepted
		_, _ = a.Close(), b.Close() // again: no further place
		l.mark(d, false)
		l.mark(b, true) // too late
		time.Sleep(time.Hour)
		if l.open != 2 || l.waiting.Len() != 0 || len(accepted) > 0 {
			t.Errorf("%d open, %d waiting", l.open, l.waiting.Len())
		}
		l.mark(c, true) // its answer is there: it rests
		e := <-accepted
		if !c.gone || d.gone || e.gone {
			t.Error("not c, who rests, made place")
		}
		_ = l.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		for _, p := range []*placed{d, e} {
			_ = p.Close()
		}
		if l.open != 0 || l.waiting.Len() != 0 {
			t.Errorf("%d open at the end", l.open)
		}
	})
}

// poor is a listener of a process that has few descriptors.
type poor struct {
	net.Listener

	left chan struct{} // a value for each descriptor
}

func (p poor) Accept() (net.Conn, error) {
	select {
	case <-p.left:
	default:
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	here, _ := net.Pipe()
	return given{here, p.left}, nil
}

// given gives its descriptor back.
type given struct {
	net.Conn

	left chan struct{}
}

func (g given) Close() error {
	g.left <- struct{}{}
	return g.Conn.Close()
}

// TestNoDescriptors: where they are used up before the places are, whoever has
// waited longest for its client makes way.
func TestNoDescriptors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := poor{left: make(chan struct{}, 2)}
		inner.left <- struct{}{}
		inner.left <- struct{}{}
		l := newLimit(inner, 2048)
		accept := func() *placed {
			conn, err := l.Accept()
			if err != nil {
				return nil
			}
			return conn.(*placed)
		}
		a, b := accept(), accept()
		l.mark(a, false) // at work
		if accept() != nil || b.gone {
			t.Error("b had no time to say something")
		}
		time.Sleep(patience)
		if accept() != nil || !b.gone || a.gone {
			t.Error("not b, who says nothing, made way")
		}
		if c := accept(); c == nil {
			t.Error("nobody has b's descriptor")
		}
	})
}
