package resolverstore

import (
	"crypto/rand"
	"strconv"
	"strings"
)

// version is which state of a session a hash holds.
type version struct {
	n     uint64 // counts changes
	birth string // random, of the session: another session of the same id has another one
	raw   string // all of it, with a random end that tells apart two changes made from the same state; "" is none
}

func (v version) next() version { return newVersion(v.n+1, v.birth) }

// behind reports whether one that was held before v was read does not lead to v.
func (v version) behind(before version) bool {
	return v.n < before.n || v.n == before.n && v.raw != before.raw && before.raw != ""
}

func newVersion(n uint64, birth string) version {
	return version{n: n, birth: birth, raw: strconv.FormatUint(n, 10) + "." + birth + "." + rand.Text()[:10]}
}

func parseVersion(raw string) (version, error) {
	n, rest, _ := strings.Cut(raw, ".")
	birth, _, ok := strings.Cut(rest, ".")
	count, err := strconv.ParseUint(n, 10, 64)
	if err != nil || !ok {
		return version{}, errWire
	}
	return version{n: count, birth: birth, raw: raw}, nil
}

// message is what is published with a change: the change itself, if it is small, so that nobody need read it.
type message struct {
	kind     messageKind
	from, to string // versions
	delta    delta
}

type messageKind uint64

const (
	messageDelta messageKind = iota + 1
	messageLook              // it has changed: read it
	messageDoubt             // somebody could not read it: the owner looks after it
)

// maxMessage is how large a message may be, in bytes; a larger change is announced only.
const maxMessage = 64 << 10

func (m *message) encode() string {
	w := newWriter().uint(uint64(m.kind)).text(m.from).text(m.to)
	if m.kind != messageDelta {
		return w.done()
	}
	for _, list := range [][]string{m.delta.dels, m.delta.sets} {
		w.uint(uint64(len(list)))
		for _, s := range list {
			w.text(s)
		}
	}
	if len(w.b) > maxMessage {
		m.kind = messageLook
		return m.encode()
	}
	return w.done()
}

func decodeMessage(s string) (m message, err error) {
	r := newReader(s)
	m.kind, m.from, m.to = messageKind(r.uint()), r.text(), r.text()
	for _, list := range []*[]string{&m.delta.dels, &m.delta.sets} {
		for n := r.count(); n > 0; n-- {
			*list = append(*list, r.text())
		}
	}
	return m, r.err
}
