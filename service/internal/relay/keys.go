package relay

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

// MinSecret is the least length of a pod secret, in bytes.
const MinSecret = 32

// Purpose is what a key is for. Keys of different purposes have nothing in common but the secret, which none of them tells.
type Purpose uint8

// The purposes.
const (
	ForForward     Purpose = iota // the proof that a pod forwarded a call
	ForResume                     // resume tokens of streams
	ForSeal                       // what a new owner needs of a session, such as credentials of ICE servers
	ForRequestHash                // tells "the same request" without telling what it holds
	ForLease                      // that a pod is at the address in its lease
	ForPage                       // how far a list was told
	purposes
)

// labels are the info of HKDF (RFC 5869). They are part of what pods agree on: a changed one makes another key.
var labels = [purposes]string{"penstock forward v1", "penstock resume v1", "penstock seal v1", "penstock request-hash v1", "penstock lease v2", "penstock page v1"}

// Keys are the keys that all pods of a deployment derive from the secret that they share. There may be secrets of before, so that
// the secret can be changed one pod at a time: what they made is still accepted. It is safe for concurrent use.
type Keys struct {
	now atomic.Pointer[generations]
}

// generations are what follows from secrets. They are immutable; the first one signs and seals.
type generations [][purposes][]byte

// NewKeys derives keys from the current secret and those of before. Errors: ErrSecret.
func NewKeys(current []byte, before ...[]byte) (*Keys, error) {
	k := &Keys{}
	_, err := k.Change(current, before...)
	return k, err
}

// Change has the keys follow from other secrets, from the next use on, and tells whether another one signs and seals by now. Errors: ErrSecret, with which nothing changes.
func (k *Keys) Change(current []byte, before ...[]byte) (another bool, err error) {
	g, err := derive(append([][]byte{current}, before...))
	if err != nil {
		return false, err
	}
	old := k.now.Swap(&g)
	return old != nil && !hmac.Equal((*old)[0][ForSeal], g[0][ForSeal]), nil
}

// derive returns what follows from secrets.
func derive(secrets [][]byte) (generations, error) {
	var all generations
	for _, secret := range secrets {
		if len(secret) < MinSecret {
			return nil, fmt.Errorf("%w, and this has %d", ErrSecret, len(secret))
		}
		var g [purposes][]byte
		for p, label := range labels {
			key, err := hkdf.Key(sha256.New, secret, nil, label, sha256.Size)
			if err != nil {
				return nil, fmt.Errorf("relay: deriving a key: %w", err)
			}
			g[p] = key
		}
		all = append(all, g)
	}
	return all, nil
}

// RandomKeys returns the keys of a process that shares them with nobody.
func RandomKeys() *Keys {
	secret := make([]byte, MinSecret)
	_, _ = rand.Read(secret) // never fails
	k, err := NewKeys(secret)
	if err != nil {
		panic(err) // the secret is long enough
	}
	return k
}

// MAC returns the HMAC-SHA256 over parts. Their bounds are part of it.
func (k *Keys) MAC(p Purpose, parts ...[]byte) []byte { return mac((*k.now.Load())[0][p], parts) }

// MACs returns that of each secret, MAC's first: what was kept may be by one of before.
func (k *Keys) MACs(p Purpose, parts ...[]byte) (sums [][]byte) {
	for _, g := range *k.now.Load() {
		sums = append(sums, mac(g[p], parts))
	}
	return sums
}

// Verify tells, in a time that tells nothing else, whether MAC returned sum for the parts, with the current secret or one of before.
func (k *Keys) Verify(p Purpose, sum []byte, parts ...[]byte) bool {
	ok := false
	for _, g := range *k.now.Load() {
		if hmac.Equal(sum, mac(g[p], parts)) {
			ok = true
		}
	}
	return ok
}

// Seal encrypts with AES-256-GCM under a random nonce, which is put in front. What binds it, such as a session's key, must be given to Open again.
func (k *Keys) Seal(p Purpose, plain []byte, binding ...[]byte) ([]byte, error) {
	aead, err := aeadOf((*k.now.Load())[0][p])
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plain, joined(binding)), nil
}

// Open decrypts what Seal returned, with the current secret or one of before. Errors: ErrSealed.
func (k *Keys) Open(p Purpose, sealed []byte, binding ...[]byte) ([]byte, error) {
	for _, g := range *k.now.Load() {
		aead, err := aeadOf(g[p])
		if err != nil {
			return nil, err
		}
		if plain, err := aead.Open(nil, nil, sealed, joined(binding)); err == nil {
			return plain, nil
		}
	}
	return nil, ErrSealed
}

// Current tells whether Seal of the current secret returned what can be opened.
func (k *Keys) Current(p Purpose, sealed []byte, binding ...[]byte) bool {
	aead, err := aeadOf((*k.now.Load())[0][p])
	if err != nil {
		return false
	}
	_, err = aead.Open(nil, nil, sealed, joined(binding))
	return err == nil
}

// aeadOf returns the cipher of a key.
func aeadOf(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	return aead, nil
}

// mac returns the HMAC of parts.
func mac(key []byte, parts [][]byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(joined(parts))
	return h.Sum(nil)
}

// joined returns parts, each behind its length, so that no two lists of parts are alike.
func joined(parts [][]byte) []byte {
	var out []byte
	for _, part := range parts {
		out = binary.BigEndian.AppendUint64(out, uint64(len(part)))
		out = append(out, part...)
	}
	return out
}
