package relay

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

// secretOf returns a secret for a test.
func secretOf(c byte) []byte { return bytes.Repeat([]byte{c}, MinSecret) }

// keysOf returns keys of secrets, the current one first.
func keysOf(t testing.TB, current byte, before ...byte) *Keys {
	t.Helper()
	var old [][]byte
	for _, c := range before {
		old = append(old, secretOf(c))
	}
	k, err := NewKeys(secretOf(current), old...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestKeysOfPurposesDiffer: what is made for one purpose is nothing for another, and pods of this version and of others agree on the keys.
func TestKeysOfPurposesDiffer(t *testing.T) {
	k, part := keysOf(t, 'a'), []byte("part")
	sums := map[string]Purpose{}
	for p := range purposes {
		sum := k.MAC(p, part)
		if other, ok := sums[string(sum)]; ok {
			t.Errorf("purposes %d and %d have one key", p, other)
		}
		sums[string(sum)] = p
		for q := range purposes {
			if got := k.Verify(q, sum, part); got != (p == q) {
				t.Errorf("made for %d, verified for %d: %v", p, q, got)
			}
		}
	}
	// A change of these would part the pods of two versions.
	for p, want := range map[Purpose]string{ForForward: knownForward, ForResume: knownResume, ForSeal: knownSeal, ForRequestHash: knownHash, ForLease: knownLease, ForPage: knownPage} {
		if got := hex.EncodeToString(k.MAC(p, part)[:8]); got != want {
			t.Errorf("the key of purpose %d has changed: %s, was %s", p, got, want)
		}
	}
}

// TestKeysTakeNoShortSecret: of 31 bytes none follows, be it the current or one of before.
func TestKeysTakeNoShortSecret(t *testing.T) {
	short := secretOf('a')[1:]
	if _, err := NewKeys(short); !errors.Is(err, ErrSecret) {
		t.Errorf("current: %v", err)
	}
	if _, err := NewKeys(secretOf('a'), short); !errors.Is(err, ErrSecret) {
		t.Errorf("before: %v", err)
	}
}

// TestMACBindsTheBoundsOfParts: bytes that move from one part to the next make another sum.
func TestMACBindsTheBoundsOfParts(t *testing.T) {
	k := keysOf(t, 'a')
	seen := map[string]bool{}
	for _, parts := range [][][]byte{{}, {{}}, {[]byte("ab")}, {[]byte("a"), []byte("b")}, {[]byte("ab"), {}}, {{}, []byte("ab")}} {
		sum := string(k.MAC(ForResume, parts...))
		if seen[sum] {
			t.Errorf("%q has the sum of others", parts)
		}
		seen[sum] = true
	}
}

// TestSecretsAreChangedPodByPod: a pod that knows two secrets takes what either made, and makes what the first one does.
func TestSecretsAreChangedPodByPod(t *testing.T) {
	old, both, other, now := keysOf(t, 'a'), keysOf(t, 'b', 'a'), keysOf(t, 'a', 'b'), keysOf(t, 'b')
	part := []byte("x")
	for _, c := range []struct {
		name         string
		makes, takes *Keys
		want         bool
	}{
		{"old to both", old, both, true}, {"new to both", now, both, true}, {"both to new", both, now, true}, {"both to old", both, old, false},
		{"prepared to old", other, old, true}, {"both to prepared", both, other, true}, {"old to new", old, now, false},
	} {
		if got := c.takes.Verify(ForForward, c.makes.MAC(ForForward, part), part); got != c.want {
			t.Errorf("%s: a sum is taken: %v", c.name, got)
		}
		sealed, err := c.makes.Seal(ForSeal, []byte("credential"), part)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := c.takes.Open(ForSeal, sealed, part)
		if (err == nil) != c.want || c.want && string(plain) != "credential" {
			t.Errorf("%s: what is sealed opens as %q, %v", c.name, plain, err)
		}
	}
}

// TestSealedTellsNothingAndCannotBeChanged: no byte of it can be changed, nor what it is bound to, nor its purpose; sealed twice it is not the same.
func TestSealedTellsNothingAndCannotBeChanged(t *testing.T) {
	k, binding, plain := keysOf(t, 'a'), []byte("session"), []byte("a credential that is long enough to be found")
	sealed, err := k.Seal(ForSeal, plain, binding)
	if err != nil {
		t.Fatal(err)
	}
	again, err := k.Seal(ForSeal, plain, binding)
	if err != nil || bytes.Equal(sealed, again) || bytes.Contains(sealed, plain[:8]) {
		t.Errorf("%x and %x tell, %v", sealed, again, err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := k.Open(ForSeal, bad, binding); !errors.Is(err, ErrSealed) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	for n := range len(sealed) {
		if _, err := k.Open(ForSeal, sealed[:n], binding); !errors.Is(err, ErrSealed) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
	if _, err := k.Open(ForSeal, sealed, []byte("another")); !errors.Is(err, ErrSealed) {
		t.Errorf("of another session: %v", err)
	}
	if _, err := k.Open(ForResume, sealed, binding); !errors.Is(err, ErrSealed) {
		t.Errorf("for another purpose: %v", err)
	}
}

// TestRandomKeysAreOfOneProcess: two processes that share no secret take nothing of each other.
func TestRandomKeysAreOfOneProcess(t *testing.T) {
	a, b := RandomKeys(), RandomKeys()
	if b.Verify(ForForward, a.MAC(ForForward)) || !a.Verify(ForForward, a.MAC(ForForward)) {
		t.Error("keys are not random")
	}
}

// The first bytes of what the secret of 32 "a" makes of "part".
const (
	knownForward = "5a062a2245811cb9"
	knownResume  = "5a4a85959d387e88"
	knownSeal    = "2da50d0a053835b1"
	knownHash    = "a1277b9acc097535"
	knownLease   = "82d6da3e556ba6dd"
	knownPage    = "49745c17f61801d5"
)
