package rtcpool

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
)

// formatSection offers one format, and its retransmission.
func formatSection(codec, fmtp string) string {
	return fmt.Sprintf("video 9 UDP/TLS/RTP/SAVPF 98 99\r\na=rtpmap:98 %s/90000\r\na=fmtp:98 %s\r\n"+
		"a=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\na=sendonly\r\na=rtcp-mux\r\n", codec, fmtp)
}

func TestF22_WhatCannotBeReceivedIsRefusedWithAReason(t *testing.T) {
	for _, tc := range []struct{ codec, fmtp, reason string }{
		{"H264", "packetization-mode=2;profile-level-id=42e01f", `H264 with packetization-mode "2"; use 0 or 1`},
		{"H264", "packetization-mode=1;profile-level-id=58001f", `H264 with profile-level-id "58001f"; use baseline, main or high`},
		{"H264", "packetization-mode=1;profile-level-id=mush", `H264 with profile-level-id "mush"`},
		{"H265", "profile-id=1;sprop-max-don-diff=3", `H265 with sprop-max-don-diff "3"; use 0`},
		{"H265", "sprop-depack-buf-nalus=8", `H265 with sprop-depack-buf-nalus "8"; use 0`},
		{"H265", "tx-mode=MRST", `H265 with tx-mode "mrst"; use SRST`},
		{"H265", "profile-id=4", `H265 with profile-id "4"; use 1 or 2`},
		{"VP9", "profile-id=1", `VP9 with profile-id "1"; use 0 or 2`},
		{"AV1", "profile=1", `AV1 with profile "1"; use 0`},
		{"H261", "CIF=1", "none of its codecs can be received"},
	} {
		res, err := negotiateText(t, offertest.Of(formatSection(tc.codec, tc.fmtp), offertest.Audio))
		if err != nil || res.Answer == nil {
			t.Fatalf("%s %s: %+v, %v", tc.codec, tc.fmtp, res, err)
		}
		if got := res.Answer.Rejected; len(got) != 1 || got[0].MID != "0" || !strings.Contains(got[0].Reason, tc.reason) {
			t.Errorf("%s %s: %+v, want %s", tc.codec, tc.fmtp, got, tc.reason)
		}
		if !strings.Contains(res.Answer.SDP, "m=video 0 ") || !strings.Contains(res.Answer.SDP, "m=audio 9 ") {
			t.Errorf("%s %s:\n%s", tc.codec, tc.fmtp, res.Answer.SDP)
		}
	}
}

func TestF22_VariantsThatAreReceivedAreAnswered(t *testing.T) {
	section := "video 9 UDP/TLS/RTP/SAVPF 96 97"
	lines := ""
	var want []string
	for i, format := range []string{
		"H264 packetization-mode=1;profile-level-id=42e01f", "H264 packetization-mode=0;profile-level-id=42001f",
		"H264 packetization-mode=2;profile-level-id=42e01f", "H264 packetization-mode=1;profile-level-id=640c1f",
		"H264 packetization-mode=1;profile-level-id=42C01F", "VP9 profile-id=0", "VP9 profile-id=2", "VP9 profile-id=3",
		"H265 level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST", "H265 level-id=93;profile-id=2;tier-flag=0;tx-mode=SRST",
		"AV1 level-idx=5;profile=0;tier=0", "AV1 profile=2",
	} {
		codec, fmtp, _ := strings.Cut(format, " ")
		pt := 100 + 2*i
		section += fmt.Sprintf(" %d %d", pt, pt+1)
		lines += fmt.Sprintf("a=rtpmap:%d %s/90000\r\na=fmtp:%d %s\r\na=rtcp-fb:%d nack pli\r\na=rtpmap:%d rtx/90000\r\na=fmtp:%d apt=%d\r\n", pt, codec, pt, fmtp, pt, pt+1, pt+1, pt)
		if i != 2 && i != 7 && i != 11 {
			want = append(want, fmt.Sprint(pt), fmt.Sprint(pt+1))
		}
	}
	lines = "a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" + lines
	res, err := negotiateText(t, offertest.Of(section+"\r\n"+lines+"a=sendonly\r\na=rtcp-mux\r\n"))
	if err != nil || res.Answer == nil || len(res.Answer.Rejected) != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	line, _, _ := strings.Cut(res.Answer.SDP[strings.Index(res.Answer.SDP, "m=video"):], "\r\n")
	want = append([]string{"96", "97"}, want...)
	got := strings.Fields(line)[3:]
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("answered %v, want %v\n%s", got, want, res.Answer.SDP)
	}
}
