package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/cmd/gateway/internal/record"
)

// sink is where a stream's messages go. One goroutine uses it.
type sink interface {
	header(h *penstockv1.StreamHeader) error
	frame(f record.Frame) error
	event(e *penstockv1.StreamEvent) error
	close() error
}

// fileSink writes frames into files and tells events in lines.
type fileSink struct {
	*record.Recorder
	out            io.Writer
	frames, lost   uint64
	dropped, bytes uint64
}

func (s *fileSink) header(h *penstockv1.StreamHeader) error { return s.Header(h) }

func (s *fileSink) frame(f record.Frame) error {
	s.frames++
	s.bytes += uint64(len(f.Payload()))
	s.lost += uint64(f.Info().GetLostFrames())
	s.dropped += uint64(f.Info().GetDroppedFrames())
	return s.Write(f)
}

func (s *fileSink) event(e *penstockv1.StreamEvent) error {
	_, err := fmt.Fprintln(s.out, describe(e))
	return err
}

func (s *fileSink) close() error {
	err := s.Close()
	if len(s.Paths()) == 0 {
		fmt.Fprintln(s.out, "no frame came, so no file was written")
		return err
	}
	fmt.Fprintf(s.out, "%s: %d frames, %d bytes, %d lost, %d dropped\n", strings.Join(s.Paths(), ", "), s.frames, s.bytes, s.lost, s.dropped)
	return err
}

// livePeriod is how much media one live line tells of.
const livePeriod = time.Second

// live shows a line for each second of media: rate, size, delay, losses.
type live struct {
	out    io.Writer
	now    func() time.Time
	what   string
	start  time.Duration // of the line
	frames int
	bytes  int
	delay  time.Duration // sum
	lost   uint64
	drops  uint64
}

func newLive(out io.Writer) *live { return &live{out: out, now: time.Now} }

func (l *live) header(h *penstockv1.StreamHeader) error {
	t := h.GetTrack()
	_, err := fmt.Fprintf(l.out, "%s: %s %s %s\n", t.GetTrackId(), dash(t.GetPublication().GetParticipant().GetUserId()),
		word(t.GetPublication().GetSource().String(), "SOURCE_"), word(h.GetCodec().String(), "CODEC_"))
	return err
}

func (l *live) frame(f record.Frame) error {
	info := f.Info()
	at := time.Duration(info.GetPresentationTimeNs())
	if l.frames == 0 {
		l.start = at
	}
	var err error
	if elapsed := at - l.start; elapsed >= livePeriod {
		err = l.line(elapsed)
		l.start, l.frames, l.bytes, l.delay = at, 0, 0, 0
	}
	l.frames++
	l.bytes += len(f.Payload())
	l.delay += l.now().Sub(time.Unix(0, info.GetReceiveTimeUnixNs()))
	l.lost += uint64(info.GetLostFrames())
	l.drops += uint64(info.GetDroppedFrames())
	if v := f.Video; v != nil {
		l.what = fmt.Sprintf("%d×%d", v.GetWidth(), v.GetHeight())
	} else {
		l.what = fmt.Sprintf("%d samples", f.Audio.GetSampleCount())
	}
	return err
}

func (l *live) line(elapsed time.Duration) error {
	seconds := elapsed.Seconds()
	_, err := fmt.Fprintf(l.out, "%6.1f fps  %-12s %8.0f kbit/s  delay %5.1f ms  lost %d  dropped %d\n",
		float64(l.frames)/seconds, l.what, float64(l.bytes)*8/1000/seconds,
		float64(l.delay.Microseconds())/1000/float64(l.frames), l.lost, l.drops)
	return err
}

func (l *live) event(e *penstockv1.StreamEvent) error {
	_, err := fmt.Fprintln(l.out, describe(e))
	return err
}

func (l *live) close() error { return nil }

// firstFrame tells when the first frame comes.
type firstFrame struct {
	sink
	came func()
}

func (s *firstFrame) frame(f record.Frame) error {
	s.came()
	return s.sink.frame(f)
}
