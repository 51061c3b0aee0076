package podtest

import (
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// TestPodsShareSessions: every pod knows a session, and its owner streams it.
func TestPodsShareSessions(t *testing.T) {
	c := startCluster(t, 3)
	id := c.createAt(c.pods[0], "call")
	for _, p := range c.pods {
		if got := c.session(p.clients, id).GetOwner(); got != c.pods[0].incarnation(c.ctx) {
			t.Errorf("%s says that the owner is %q", p.name, got)
		}
	}
	c.call(c.pods[0].clients, id)
	w := c.work("here", c.pods[0].clients, id, "carol-1", penstockv1.Source_SOURCE_CAMERA)
	w.awaitFrames(15)
	w.judge(camera().Watermark)
}
