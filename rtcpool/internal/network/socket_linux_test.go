package network

import (
	"encoding/binary"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlMessage is a message of the socket's own level, as the kernel writes it (cmsg(3)).
func controlMessage(kind int32, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := unix.Cmsghdr{Level: unix.SOL_SOCKET, Type: kind}
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b, unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h)))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

// TestControlMessagesBesideAPacket reads the kernel's time and its drops in any order, and takes no time that cannot be.
func TestControlMessagesBesideAPacket(t *testing.T) {
	now := time.Now()
	at := func(age time.Duration) []byte {
		ts := unix.NsecToTimespec(now.Add(-age).UnixNano())
		return controlMessage(unix.SCM_TIMESTAMPNS, unsafe.Slice((*byte)(unsafe.Pointer(&ts)), unsafe.Sizeof(ts)))
	}
	drops := controlMessage(unix.SO_RXQ_OVFL, binary.NativeEndian.AppendUint32(nil, 5))
	for name, c := range map[string]struct {
		oob   []byte
		age   time.Duration
		drops uint32
	}{
		"nothing":              {},
		"time":                 {oob: at(time.Second), age: time.Second},
		"time, then drops":     {oob: append(at(time.Second), drops...), age: time.Second, drops: 5},
		"drops, then time":     {oob: append(drops[:len(drops):len(drops)], at(time.Second)...), age: time.Second, drops: 5},
		"a time to come":       {oob: at(-time.Second)},
		"a time of long ago":   {oob: at(time.Hour)},
		"a time that is short": {oob: controlMessage(unix.SCM_TIMESTAMPNS, make([]byte, 8))},
		"cut off":              {oob: at(time.Second)[:20]},
	} {
		if got := now.Sub(arrivalOf(c.oob, now)); got != c.age {
			t.Errorf("%s: %v ago, want %v", name, got, c.age)
		}
		if n, ok := overflowOf(c.oob); n != c.drops || ok != (c.drops != 0) {
			t.Errorf("%s: %d drops, %v", name, n, ok)
		}
	}
}
