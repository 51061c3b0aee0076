package offer

import "testing"

func FuzzReadCandidate(f *testing.F) {
	for _, seed := range []string{"", "candidate:", "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host ufrag abcd", "candidate:1 1 tcp 1 ::1 9 typ host tcptype active", "a=candidate:x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, ok := ReadCandidate(text, ""); ok && len(text) > maxCandidateBytes+len("candidate:") {
			t.Errorf("%d bytes are accepted", len(text))
		}
	})
}
