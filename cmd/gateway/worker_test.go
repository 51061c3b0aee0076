package main

import (
	"bytes"
	"context"
	"image"
	_ "image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// call is a gateway with a session "call", into which an SFU sends Alice's camera and microphone.
type call struct {
	gateway *gateway
	sfu     *sfutest.SFU
	camera  *sfutest.Track
}

// newCall starts it all; it ends with the test.
func newCall(t *testing.T) *call {
	t.Helper()
	g := inProcess(t, nil)
	sfu, camera := publishAlice(t, g.GRPCAddr())
	return &call{g, sfu, camera}
}

// publishAlice makes a session "call" at an address, into which an SFU sends Alice's camera and microphone until the test ends.
func publishAlice(t *testing.T, addr string) (sfu *sfutest.SFU, camera *sfutest.Track) {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	sessions := penstockv1.NewSessionServiceClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	t.Cleanup(cancel)
	if _, err := sessions.CreateSession(ctx, &penstockv1.CreateSessionRequest{SessionId: "call"}); err != nil {
		t.Fatal(err)
	}
	sfu, err = sfutest.New(sfutest.Config{Signaller: sfutest.GRPCSignaller{Client: sessions, SessionID: "call"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sfu.Close() })
	alice := sfutest.Participant{ParticipantID: "alice-1", UserID: "alice", Name: "Alice"}
	camera, err = sfu.NewTrack(alice, penstockv1.Source_SOURCE_CAMERA, clips.AliceCamera())
	if err != nil {
		t.Fatal(err)
	}
	microphone, err := sfu.NewTrack(alice, penstockv1.Source_SOURCE_MICROPHONE, clips.AliceMicrophone())
	if err != nil {
		t.Fatal(err)
	}
	if err := sfu.Publish(ctx, camera, microphone); err != nil {
		t.Fatal(err)
	}
	return sfu, camera
}

// gateway runs a command line in this process.
func (c *call) run(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	var out, errs bytes.Buffer
	code := run(ctx, append(args, "--session=call", "--addr="+c.gateway.GRPCAddr()), &stdio{Out: &out, Err: &errs})
	if ctx.Err() != nil {
		t.Fatalf("%v hangs\n%s%s", args, &out, &errs)
	}
	return outcome{out.String(), errs.String(), code}
}

func TestStreamWritesFiles(t *testing.T) {
	c := newCall(t)
	for _, s := range []struct {
		source, name string
		frames       int
		begin        string
		atLeast      int // bytes
		more         []string
	}{
		{"camera", "a.y4m", 5, "YUV4MPEG2 W320 ", 5 * 320 * 100, []string{"--width=320"}},
		{"camera", "a.ivf", 5, "DKIF", 500, nil},
		{"microphone", "a.wav", 50, "RIFF", 50 * 960 * 2, nil},
		{"microphone", "b.wav", 50, "RIFF", 50 * 320 * 2, []string{"--rate=16000"}},
		{"microphone", "a.ogg", 50, "OggS", 1000, nil},
	} {
		t.Run(s.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), s.name)
			got := c.run(t, append([]string{"stream", "--user=alice", "--source=" + s.source, "--frames=" + strconv.Itoa(s.frames), "--out=" + path}, s.more...)...)
			if got.code != 0 || !strings.Contains(got.out, path+": "+strconv.Itoa(s.frames)+" frames") {
				t.Fatalf("exit %d, %s%s", got.code, got.out, got.err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(b, []byte(s.begin)) || len(b) < s.atLeast {
				t.Errorf("%d bytes that begin with %q, want %d with %q", len(b), b[:min(len(b), 20)], s.atLeast, s.begin)
			}
		})
	}
}

func TestStreamStopsAfterADuration(t *testing.T) {
	c := newCall(t)
	path := filepath.Join(t.TempDir(), "a.wav")
	if got := c.run(t, "stream", "--participant=alice-1", "--source=microphone", "--duration=300ms", "--out="+path); got.code != 0 {
		t.Fatalf("exit %d, %s", got.code, got.err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	// The frame that begins 300 ms after the first is the last.
	if want := int64(wavBytes(300*time.Millisecond) + wavBytes(20*time.Millisecond)); info.Size()-44 != want {
		t.Errorf("%d bytes of samples, want %d", info.Size()-44, want)
	}
}

// wavBytes returns the bytes of so much 48 kHz mono s16le.
func wavBytes(d time.Duration) int { return int(d.Milliseconds()) * 48 * 2 }

func TestStreamShowsALiveLine(t *testing.T) {
	c := newCall(t)
	got := c.run(t, "stream", "--user=alice", "--source=camera", "--duration=1200ms")
	for _, want := range []string{"alice camera vp8", " fps ", " kbit/s ", "delay", "lost 0", "dropped"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("%q is not in\n%s", want, got.out)
		}
	}
	if got.code != 0 {
		t.Errorf("exit %d, %s", got.code, got.err)
	}
}

func TestStreamEndsWithItsTrack(t *testing.T) {
	c := newCall(t)
	listed := c.run(t, "tracks")
	if listed.code != 0 {
		t.Fatalf("exit %d, %s", listed.code, listed.err)
	}
	var id string
	for line := range strings.Lines(listed.out) {
		if strings.Contains(line, " camera ") {
			id = strings.Fields(line)[0]
		}
	}
	if id == "" {
		t.Fatalf("no camera in\n%s", listed.out)
	}
	path := filepath.Join(t.TempDir(), "a.ivf")
	ended := make(chan outcome, 1)
	go func() { ended <- c.run(t, "stream", "--track="+id, "--out="+path) }()
	awaitFile(t, path)
	if err := c.sfu.Unpublish(t.Context(), c.camera); err != nil {
		t.Fatal(err)
	}
	if got := <-ended; got.code != 0 || !strings.Contains(got.out, "ended: ") {
		t.Errorf("exit %d, %s%s", got.code, got.out, got.err)
	}
}

// awaitFile waits until there is a file.
func awaitFile(t *testing.T, path string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.Now().Add(hang)
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if (<-tick.C).After(limit) {
			t.Fatalf("%s was not made", path)
		}
	}
}

func TestTracksListAndWatch(t *testing.T) {
	c := newCall(t)
	got := c.run(t, "tracks")
	if got.code != 0 || strings.Count(got.out, "alice-1") != 2 || !strings.Contains(got.out, "microphone") {
		t.Errorf("exit %d\n%s%s", got.code, got.out, got.err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	out := &safeBuffer{}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"tracks", "--watch", "--session=call", "--addr=" + c.gateway.GRPCAddr()}, &stdio{Out: out, Err: out})
	}()
	awaitText(t, out, "camera")
	if err := c.sfu.Unpublish(ctx, c.camera); err != nil {
		t.Fatal(err)
	}
	awaitText(t, out, "\n- ")
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("interrupted: exit %d\n%s", code, out)
	}
}

// awaitText waits until a buffer holds a text.
func awaitText(t *testing.T, b *safeBuffer, text string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.Now().Add(hang)
	for !strings.Contains(b.String(), text) {
		if (<-tick.C).After(limit) {
			t.Fatalf("%q did not come:\n%s", text, b)
		}
	}
}

func TestF14_SnapshotIsOpenedByOtherDecoders(t *testing.T) {
	c := newCall(t)
	for _, name := range []string{"a.jpg", "a.png"} {
		path := filepath.Join(t.TempDir(), name)
		got := c.run(t, "snapshot", "--user=alice", "--source=camera", "--width=320", "--out="+path)
		if got.code != 0 {
			t.Fatalf("%s: exit %d, %s", name, got.code, got.err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		img, format, err := image.Decode(bytes.NewReader(b))
		if err != nil || img.Bounds().Dx() != 320 {
			t.Errorf("%s: %v, %v", name, format, err)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	c := newCall(t)
	for _, e := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"no selector", []string{"stream"}, exitUsage, []string{"no track is named", "--source with --participant or --user"}},
		{"unknown source", []string{"stream", "--user=alice", "--source=mouth"}, exitUsage, []string{`"mouth" is not a source`, "use one of camera"}},
		{"two selectors", []string{"stream", "--user=alice", "--track=t"}, exitUsage, []string{"--user", "--track"}},
		{"unknown extension", []string{"stream", "--user=alice", "--source=camera", "--out=a.mp4"}, exitUsage, []string{".mp4", ".y4m, .wav, .ivf, .h264, .ogg"}},
		{"negative", []string{"stream", "--user=alice", "--source=camera", "--frames=-1"}, exitUsage, []string{"below 0", "use 0 for no limit"}},
		{"unknown track", []string{"stream", "--track=none"}, exitFailed, []string{"TRACK_NOT_FOUND", "NotFound"}},
		{"other kind", []string{"stream", "--user=alice", "--source=camera", "--out=a.wav"}, exitFailed, []string{"FORMAT_KIND_MISMATCH"}},
		{"other codec", []string{"stream", "--user=alice", "--source=camera", "--out=a.h264"}, exitFailed, []string{"CODEC_NOT_ACCEPTED"}},
		{"too large", []string{"stream", "--user=alice", "--source=camera", "--out=a.y4m", "--max-message=5000"}, exitFailed, []string{"MESSAGE_TOO_LARGE"}},
		{"bad field", []string{"stream", "--user=alice", "--source=microphone", "--out=a.wav", "--rate=12345"}, exitFailed, []string{"INVALID_FIELD", "sample_rate_hz"}},
		{"nobody", []string{"stream", "--user=nobody", "--source=camera", "--wait=50ms"}, exitFailed, []string{"no frame came within 50ms", "--wait waits longer"}},
		{"snapshot of sound", []string{"snapshot", "--user=alice", "--source=microphone", "--out=a.jpg"}, exitFailed, []string{"FORMAT_KIND_MISMATCH"}},
		{"snapshot extension", []string{"snapshot", "--user=alice", "--source=camera", "--out=a.gif"}, exitUsage, []string{".gif", "use .jpg or .png"}},
		{"no CA", []string{"tracks", "--ca=/none"}, exitUsage, []string{"--ca: cannot be read", "name a PEM file"}},
		{"CA without certificate", []string{"tracks", "--ca=" + file(t, "ca", "x")}, exitUsage, []string{"holds no certificate"}},
		{"no token file", []string{"tracks", "--auth-token-file=/none"}, exitUsage, []string{"auth-token-file", "name a file"}},
	} {
		t.Run(e.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			got := c.run(t, e.args...)
			if got.code != e.code {
				t.Errorf("exit %d, want %d", got.code, e.code)
			}
			for _, want := range e.want {
				if !strings.Contains(got.err, want) {
					t.Errorf("%q is not in\n%s", want, got.err)
				}
			}
			if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestExplainShowsDetails(t *testing.T) {
	st, err := status.New(codes.ResourceExhausted, "too many").WithDetails(
		&errdetails.ErrorInfo{Reason: "LIMIT_REACHED", Domain: "penstock"},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(3 * time.Second)},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "width", Description: "is 0"}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	const want = "stream: ResourceExhausted (LIMIT_REACHED): too many\n  try again in 3s\n  width: is 0"
	if got := explain("stream", "x", st.Err()).Error(); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := explain("stream", "x", os.ErrNotExist); got != os.ErrNotExist { //nolint:errorlint // it must be the same
		t.Errorf("another error became %v", got)
	}
	if explain("stream", "x", nil) != nil {
		t.Error("nil became an error")
	}
}

func TestDescribeTellsEveryEvent(t *testing.T) {
	for want, e := range map[string]*penstockv1.StreamEvent{
		"muted by its publisher":          {Event: &penstockv1.StreamEvent_Paused{Paused: &penstockv1.TrackPaused{Muted: true}}},
		"paused by the SFU":               {Event: &penstockv1.StreamEvent_Paused{Paused: &penstockv1.TrackPaused{}}},
		"resumed":                         {Event: &penstockv1.StreamEvent_Resumed{Resumed: &penstockv1.TrackResumed{}}},
		"format is now vp8 4×2":           {Event: &penstockv1.StreamEvent_FormatChanged{FormatChanged: &penstockv1.FormatChanged{Codec: penstockv1.Codec_CODEC_VP8, Width: 4, Height: 2}}},
		"gap of 5 ms: network-loss":       {Event: &penstockv1.StreamEvent_Gap{Gap: &penstockv1.Gap{Milliseconds: 5, Cause: penstockv1.GapCause_GAP_CAUSE_NETWORK_LOSS}}},
		"the gateway is going away in 1s": {Event: &penstockv1.StreamEvent_GoingAway{GoingAway: &penstockv1.GoingAway{Grace: durationpb.New(time.Second)}}},
		"ended: unpublished":              {Event: &penstockv1.StreamEvent_Ended{Ended: &penstockv1.TrackEnded{Reason: penstockv1.TrackEndReason_TRACK_END_REASON_UNPUBLISHED}}},
		"pictures of 9 bytes are not sent, as --max-message is 8": {Event: &penstockv1.StreamEvent_FrameTooLarge{FrameTooLarge: &penstockv1.FrameTooLarge{MessageBytes: 9, MaxReceiveMessageBytes: 8}}},
		"vp9 cannot be decoded: encrypted":                        {Event: &penstockv1.StreamEvent_Undecodable{Undecodable: &penstockv1.Undecodable{Codec: penstockv1.Codec_CODEC_VP9, Reason: "encrypted"}}},
	} {
		if got := describe(e); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := describe(&penstockv1.StreamEvent{Event: &penstockv1.StreamEvent_Dtmf{Dtmf: &penstockv1.Dtmf{Key: "5"}}}); !strings.Contains(got, "5") {
		t.Errorf("DTMF is told as %q", got)
	}
}

func TestEncodePNG(t *testing.T) {
	f := &penstockv1.VideoFrame{
		Width: 2, Height: 2, Planes: []*penstockv1.Plane{{Offset: 1, Stride: 8}},
		Payload: []byte{99, 1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12},
	}
	b, err := encodePNG(f)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b, _ := img.At(1, 1).RGBA(); r>>8 != 10 || g>>8 != 11 || b>>8 != 12 {
		t.Errorf("the last pixel is %d %d %d", r>>8, g>>8, b>>8)
	}
	f.Payload = f.Payload[:14]
	if _, err := encodePNG(f); err == nil {
		t.Error("a short payload is taken")
	}
	f.Planes = nil
	if _, err := encodePNG(f); err == nil {
		t.Error("a picture without planes is taken")
	}
}
