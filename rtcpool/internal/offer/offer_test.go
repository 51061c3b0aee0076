package offer

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
)

func TestBadOffersAreRefused(t *testing.T) {
	good := offertest.Of(offertest.Audio)
	for name, c := range map[string]struct{ text, what string }{
		"empty":             {"", "not an SDP"},
		"prose":             {"hello", "not an SDP"},
		"broken line":       {good + "hello\r\n", "not an SDP"},
		"too large":         {good + strings.Repeat("a=x\r\n", 1<<20), "more than the"},
		"no ufrag":          {strings.ReplaceAll(good, "a=ice-ufrag:abcd\r\n", ""), "ice-ufrag"},
		"no password":       {strings.ReplaceAll(good, "a=ice-pwd", "a=ice-no"), "ice-pwd"},
		"no fingerprint":    {strings.ReplaceAll(good, "a=fingerprint:", "a=finger:"), "fingerprint"},
		"bad fingerprint":   {strings.ReplaceAll(good, "sha-256 ", ""), "fingerprint"},
		"no mid":            {strings.ReplaceAll(offertest.Of(offertest.Audio, offertest.Video), "a=mid:1\r\n", ""), "a=mid"},
		"too many formats":  {offertest.Of(strings.Replace(offertest.Audio, " 111", strings.Repeat(" 111", maxFormats+1), 1)), "formats"},
		"too much work":     {offertest.Of(strings.Replace(offertest.Audio, " 111", strings.Repeat(" 111", maxFormats), 1) + strings.Repeat("a=x\r\n", 1<<17)), "too many formats"},
		"same mid twice":    {strings.ReplaceAll(offertest.Of(offertest.Audio, offertest.Video), "a=mid:1\r\n", "a=mid:0\r\n"), "same a=mid"},
		"too many sections": {offertest.Of(slices.Repeat([]string{offertest.Audio}, maxMediaDescriptions+1)...), "more than the"},
	} {
		_, err := Parse(c.text, 1<<20)
		var bad *Error
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.what) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Parse(offertest.Head, 1<<20); !errors.Is(err, ErrNoMedia) {
		t.Errorf("no media: %v", err)
	}
}

// Several sources in one media description, as a munged simulcast has them: the first is received.
func TestS6_SeveralSourcesInOneMediaDescription(t *testing.T) {
	o, err := Parse(offertest.Of(offertest.Video+"a=ssrc-group:SIM 1 2 3\r\na=ssrc-group:FID 1 4\r\na=ssrc-group:FID 2 5\r\n"+
		"a=ssrc:1 cname:c\r\na=ssrc:2 cname:c\r\na=ssrc:3 cname:c\r\na=ssrc:4 cname:c\r\na=ssrc:5 cname:c\r\n"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range o.Desc.MediaDescriptions[0].Attributes {
		if strings.HasPrefix(a.Key, "ssrc") {
			got = append(got, a.Key+":"+a.Value)
		}
	}
	if want := "ssrc-group:FID 1 4,ssrc:1 cname:c,ssrc:4 cname:c"; strings.Join(got, ",") != want {
		t.Errorf("%v", got)
	}
}

func TestDirectionOfTheSession(t *testing.T) {
	bare := strings.ReplaceAll(offertest.Audio, "a=sendonly\r\n", "")
	for head, want := range map[string]bool{"": true, "a=sendrecv\r\n": true, "a=inactive\r\n": false, "a=recvonly\r\n": false} {
		o, err := Parse(strings.Replace(offertest.Of(bare, offertest.Audio), "a=setup:actpass\r\n", "a=setup:actpass\r\n"+head, 1), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if o.Sections[0].Sending != want || !o.Sections[1].Sending {
			t.Errorf("%q: %+v", head, o.Sections)
		}
	}
}

func FuzzParseOffer(f *testing.F) {
	f.Add(offertest.Of(offertest.Audio, offertest.Video, offertest.VP9, offertest.Text, offertest.Data))
	f.Add(offertest.Of(offertest.Video + "a=ssrc-group:FID 1 2\r\na=ssrc:1 msid:s t\r\na=ssrc:2 msid:s t\r\na=msid:- t\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"))
	f.Add(offertest.Head)
	f.Add("v=0\nm=audio 9 X 0")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := Parse(text, 1<<16)
		if err != nil {
			return
		}
		if len(o.Sections) > maxMediaDescriptions || len(o.Desc.MediaDescriptions) > len(o.Sections) {
			t.Errorf("%d sections, %d for pion", len(o.Sections), len(o.Desc.MediaDescriptions))
		}
		answer, rejected, err := BuildAnswer(o, "")
		if err != nil || strings.Count("\n"+answer, "\nm=") != len(o.Sections) || len(rejected) > len(o.Sections) {
			t.Errorf("%v, %d rejected\n%s", err, len(rejected), answer)
		}
	})
}
