package podtest

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// TestP9_ResumeTokens: the token of another session, of another track, or one that was altered anywhere is refused by every pod. The right one is
// taken by every pod.
func TestP9_ResumeTokens(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 2)
	ids := []string{c.createAt(c.pods[0], "one"), c.createAt(c.pods[0], "two")}
	for _, id := range ids {
		c.call(c.pods[0].clients, id)
	}
	const carol, video, sound = "carol-1", penstockv1.Source_SOURCE_CAMERA, penstockv1.Source_SOURCE_MICROPHONE
	w := c.work("first", c.pods[1].clients, ids[0], carol, video)
	w.awaitFrames(5)
	token := w.token()
	if token == "" {
		t.Fatal("the header has no token")
	}
	given := func(token string) func(*penstockv1.StreamTrackRequest) {
		return func(r *penstockv1.StreamTrackRequest) { r.ResumeToken = token }
	}
	for _, p := range c.pods {
		refused := func(what, id string, source penstockv1.Source, token string) {
			err := c.work(what+" at "+p.name, p.clients, id, carol, source, given(token)).end()
			wantStatus(t, what+" at "+p.name, err, codes.InvalidArgument, "RESUME_TOKEN_INVALID")
		}
		refused("a token of another session", ids[1], video, token)
		refused("a token of another track", ids[0], sound, token)
		refused("no token at all", ids[0], video, "nonsense")
		for i := 0; i < len(token); i += max(1, len(token)/10) {
			altered := []byte(token)
			altered[i] = map[bool]byte{true: 'A', false: 'B'}[altered[i] != 'A']
			refused(fmt.Sprintf("a token that is altered at %d", i), ids[0], video, string(altered))
		}
		c.work("again at "+p.name, p.clients, ids[0], carol, video, given(token)).awaitFrames(5)
	}
}
