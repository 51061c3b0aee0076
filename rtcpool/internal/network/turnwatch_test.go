package network

import (
	"bytes"
	"errors"
	"net"
	"testing"

	"github.com/pion/stun/v4"
)

// refreshError is what a TURN server answers that refuses to refresh.
func refreshError(id [stun.TransactionIDSize]byte, code stun.ErrorCode) []byte {
	m := stun.MustBuild(stun.NewTransactionIDSetter(id), stun.NewType(stun.MethodRefresh, stun.ClassErrorResponse),
		stun.NewSoftware("odd"), stun.ErrorCodeAttribute{Code: code, Reason: []byte("no")})
	return m.Raw
}

func TestTURNWatchTellsRefusedRefreshes(t *testing.T) {
	for code, want := range map[stun.ErrorCode]bool{
		stun.CodeUnauthorized: true, stun.CodeForbidden: true, stun.CodeAllocMismatch: true, stun.CodeBadRequest: true,
		stun.CodeStaleNonce: false, // the client tries again with the new nonce
	} {
		told := 0
		w := turnWatch{refused: func(got int) {
			told++
			if got != int(code) {
				t.Errorf("code %d, want %d", got, code)
			}
		}}
		id := stun.NewTransactionID()
		w.wrote(stun.MustBuild(stun.NewTransactionIDSetter(id), stun.NewType(stun.MethodRefresh, stun.ClassRequest)).Raw)
		w.read(refreshError(id, code))
		if (told == 1) != want || len(w.open) != 0 {
			t.Errorf("code %d: told %d times, %d still open", code, told, len(w.open))
		}
		w.cancel()
		w.read(refreshError(id, code)) // nobody cares any more
		if told > 1 {
			t.Errorf("code %d: told after the end", code)
		}
	}
}

// Each open request gets one answer when the session ends, in the pieces that the reader takes.
func TestTURNWatchAnswersWhatIsOpen(t *testing.T) {
	var w turnWatch
	want := make(map[[stun.TransactionIDSize]byte]bool)
	for range 3 {
		id := stun.NewTransactionID()
		want[id] = true
		request := stun.MustBuild(stun.NewTransactionIDSetter(id), stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw
		w.wrote(request)
		w.wrote(request) // again: a retransmission
	}
	if n := w.answer(make([]byte, 100)); n != 0 {
		t.Errorf("%d bytes before the end", n)
	}
	w.cancel()
	var stream bytes.Buffer
	for piece := make([]byte, 5); ; {
		n := w.answer(piece)
		if n == 0 {
			break
		}
		stream.Write(piece[:n])
	}
	const size = stunHeaderBytes + 8
	for b := stream.Bytes(); len(b) > 0; b = b[size:] {
		m := &stun.Message{Raw: b[:size]}
		var code stun.ErrorCodeAttribute
		if err := errors.Join(m.Decode(), code.GetFrom(m)); err != nil || code.Code != stun.CodeServerError || !want[m.TransactionID] {
			t.Fatalf("%v, %v, %v", m, code, err)
		}
		delete(want, m.TransactionID)
	}
	if len(want) != 0 {
		t.Errorf("%d without an answer", len(want))
	}
}

// The client of a closed connection reads answers to what it waits for before it reads the end.
func TestTURNSocketAnswersAfterItsEnd(t *testing.T) {
	w := testNetwork(t, Config{SocketReceiveBuffer: 1 << 16})
	n := w.NewPeer(t.Context(), nil)
	conn, err := n.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	id := stun.NewTransactionID()
	request := stun.MustBuild(stun.NewTransactionIDSetter(id), stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw
	if _, err := conn.WriteTo(request, conn.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if _, _, err := conn.ReadFrom(b); err != nil { // our own request
		t.Fatal(err)
	}
	n.Leave()
	size, _, err := conn.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	if m := (&stun.Message{Raw: b[:size]}); m.Decode() != nil || m.TransactionID != id || m.Type.Class != stun.ClassErrorResponse {
		t.Errorf("%v", m)
	}
	if _, _, err := conn.ReadFrom(b); !errors.Is(err, net.ErrClosed) {
		t.Errorf("then %v", err)
	}
	if _, err := n.ListenPacket("udp4", "127.0.0.1:0"); !errors.Is(err, errPeerClosed) {
		t.Errorf("a socket after the end: %v", err)
	}
}

// FuzzTURNWatch gives it what servers may send.
func FuzzTURNWatch(f *testing.F) {
	f.Add(refreshError(stun.NewTransactionID(), stun.CodeUnauthorized))
	f.Add([]byte{})
	f.Add(refreshError(stun.NewTransactionID(), stun.CodeUnauthorized)[:25])
	f.Add(append(refreshError(stun.NewTransactionID(), stun.CodeForbidden), 0, 9, 0xFF, 0xFF))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := turnWatch{refused: func(code int) {
			if code <= 0 || code > 7*100+255 {
				t.Errorf("code %d", code)
			}
		}}
		w.wrote(b)
		w.read(b)
		w.cancel()
		if n := w.answer(make([]byte, 100)); n != 0 && len(w.open) > maxOpenRequests {
			t.Errorf("%d answered, %d open", n, len(w.open))
		}
	})
}
