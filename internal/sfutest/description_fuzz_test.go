package sfutest

import "testing"

// FuzzDescription changes whatever it is given in every way, without a panic, and writes what it read.
func FuzzDescription(f *testing.F) {
	f.Add(sampleOffer)
	f.Add("m=\r\n")
	f.Add("v=0\r\nm=audio\r\na=mid:\r\na=ssrc-group:FID 1\r\na=rtpmap: rtx/\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		once := parseDescription(text).String()
		if again := parseDescription(once).String(); again != once {
			t.Errorf("%q becomes %q", once, again)
		}
		d := parseDescription(text)
		c := Config{Setup: "active", WithoutREMB: true, WithoutTransportCC: true, WithoutNACK: true, WithoutRTX: true, WithoutSources: true, MSID: MSIDNone}
		c.edit(d)
		for _, s := range d.media {
			s.setDirection("inactive")
			s.setMSID("a", "b")
			if len(s.lines) == 0 {
				t.Error("the m= line is gone")
			}
		}
		d.takeCandidates()
		if v := Version(WithVersion(text, 5)); v != 5 && v != 0 {
			t.Errorf("version %d", v)
		}
		for _, s := range d.media {
			if c, left := s.value("a=candidate:"); left {
				t.Errorf("candidate %q is left", c)
			}
		}
		WithWrongFingerprint(text)
	})
}
