package relay

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-media/penstock/service/internal/identity"
)

const (
	// Metadata is the name of the metadata that holds the proof. Callers never send it.
	Metadata = "penstock-forward"
	// window is how old a proof may be, and how far in the future: as far as the clocks of two pods may differ, beside the call's way.
	window = 30 * time.Second
	// maxProof bounds a proof, in bytes: the largest identity that there is has below 4 KiB.
	maxProof = 8 << 10
	// version is that of the proof.
	version = "3"
	// onceForwarded is the only number of hops that there may be.
	onceForwarded = "1"
)

// Caller is who made a call, as the pod that it came to knows.
type Caller struct {
	Identity identity.Identity // whom the pod has authenticated, with all that it may do and its end
	Address  string            // where the call came from, host:port
}

// Forward is a call that another pod forwarded.
type Forward struct {
	From   string // the pod's incarnation
	Caller Caller
	since  string // what WithSince has told
}

// proof is what a forwarded call says of itself.
type proof struct {
	from, to string // incarnations
	method   string // not sent: the call has it
	address  string // the caller's
	identity string // the caller's, in JSON
	since    string // of the stream that the call is a part of: see WithSince
	hops     string
	at       int64  // Unix milliseconds
	nonce    string // random, so that no two calls have one proof
}

// newProof returns the proof of a call that is about to be forwarded.
func newProof(ctx context.Context, from, to, method string, caller Caller) proof {
	who, err := json.Marshal(caller.Identity)
	if err != nil { // A struct of texts, numbers and a time; of a time that no text has, nobody is made of.
		who = []byte("{}")
	}
	since, _ := ctx.Value(sinceKey{}).(sinceValue)
	return proof{
		from: from, to: to, method: method, address: caller.Address, identity: string(who), since: since.encode(),
		hops: onceForwarded, at: time.Now().UnixMilli(), nonce: rand.Text(),
	}
}

// parts is what is signed.
func (p proof) parts() [][]byte {
	return [][]byte{
		[]byte(version), []byte(p.from), []byte(p.to), []byte(p.method), []byte(p.identity), []byte(p.address),
		[]byte(p.hops), []byte(strconv.FormatInt(p.at, 10)), []byte(p.nonce), []byte(p.since),
	}
}

// encode returns the metadata's value: fields in base64url between dots, the MAC last.
func (p proof) encode(k *Keys) string {
	e := base64.RawURLEncoding
	fields := []string{
		version, strconv.FormatInt(p.at, 10), p.hops, e.EncodeToString([]byte(p.from)), e.EncodeToString([]byte(p.to)),
		e.EncodeToString([]byte(p.identity)), e.EncodeToString([]byte(p.address)), e.EncodeToString([]byte(p.nonce)),
		e.EncodeToString([]byte(p.since)), e.EncodeToString(k.MAC(ForForward, p.parts()...)),
	}
	return strings.Join(fields, ".")
}

// decode reads a proof, of which nothing is believed yet but its form. sum is its MAC.
func decode(value, method string) (p proof, sum []byte, ok bool) {
	if len(value) > maxProof {
		return proof{}, nil, false
	}
	fields := strings.Split(value, ".")
	if len(fields) != 10 || fields[0] != version {
		return proof{}, nil, false
	}
	at, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return proof{}, nil, false
	}
	var texts [7][]byte
	for i, f := range fields[3:] {
		if texts[i], err = base64.RawURLEncoding.Strict().DecodeString(f); err != nil {
			return proof{}, nil, false
		}
	}
	return proof{
		from: string(texts[0]), to: string(texts[1]), method: method, at: at, hops: fields[2],
		identity: string(texts[2]), address: string(texts[3]), nonce: string(texts[4]), since: string(texts[5]),
	}, texts[6], true
}

// caller returns who made the call that was forwarded. Only what is proved may be asked.
func (p proof) caller() (Caller, error) {
	c := Caller{Address: p.address}
	if err := json.Unmarshal([]byte(p.identity), &c.Identity); err != nil {
		return Caller{}, fmt.Errorf("relay: identity of a forward: %w", err)
	}
	return c, nil
}

// check returns what a proof says, and what is wrong with it, or nothing. Of one that is CauseStranger's nothing is proved.
func check(k *Keys, value, method, self string, now time.Time) (proof, fault) {
	p, sum, ok := decode(value, method)
	switch {
	case !ok:
		return proof{}, fault{"it cannot be read", CauseStranger}
	case !k.Verify(ForForward, sum, p.parts()...):
		return p, fault{"it is forged, of another method, or of pods with another secret", CauseStranger}
	case p.to != self:
		return p, fault{"it is for another pod", CauseTarget}
	case p.hops != onceForwarded:
		return p, fault{"the call was forwarded more than once", CauseTarget}
	}
	if age := now.Sub(time.UnixMilli(p.at)); age > window || age < -window {
		return p, fault{"it is of another time; the clocks of pods must agree", CauseClock}
	}
	return p, fault{}
}
