package media

import (
	"regexp"
	"testing"
)

func TestDecodersTellsVersionAndLicence(t *testing.T) {
	if got := Decoders(); !regexp.MustCompile(`^libavcodec \d+\.\d+\.\d+, L?GPL version \d(\.\d)? or later$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
}
