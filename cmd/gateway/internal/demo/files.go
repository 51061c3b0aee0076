package demo

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"html/template"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"time"

	_ "embed"
)

//go:embed page.html.tmpl
var pageTemplate string

// card is one track on the page.
type card struct {
	Title, Codec, Format, State, Content, Verdict string
	Frames, Lost, Dropped, Checked                int
	FPS, Delay                                    string

	File           string       // empty when nothing came
	Picture, Sound template.URL // data: URLs
	Width, Height  int
	Seconds        string
	Bars           []bar // of the sound
}

// bar is a vertical line of a sound's outline, in a box of 160 by 90.
type bar struct{ X, Y, Height float64 }

// page is what the template shows.
type page struct {
	Passed           bool
	Took             string
	Failures         []string
	Pictures, Sounds []card
	Glimpse          template.URL
}

// writeFiles leaves a PNG or a WAV for each track, one PNG of GetFrame, and a page that shows them.
func (s *stage) writeFiles(failures []string, took time.Duration) error {
	if err := os.MkdirAll(s.cfg.Dir, 0o755); err != nil {
		return fmt.Errorf("write the files: %w", err)
	}
	p := page{Passed: len(failures) == 0, Took: fmt.Sprintf("%.1f s", took.Seconds()), Failures: failures}
	all, _ := s.board.list()
	for i, t := range all {
		c := newCard(t)
		if i < len(s.workers) {
			if err := s.writeTrack(s.workers[i], &c); err != nil {
				return fmt.Errorf("write the files: %w", err)
			}
		}
		if t.role.clip.IsAudio() {
			p.Sounds = append(p.Sounds, c)
		} else {
			p.Pictures = append(p.Pictures, c)
		}
	}
	if s.glimpse != nil {
		path := filepath.Join(s.cfg.Dir, "get-frame.png")
		if err := writePNG(path, s.glimpse); err != nil {
			return fmt.Errorf("write the files: %w", err)
		}
		var err error
		if p.Glimpse, err = dataURL(path, "image/png"); err != nil {
			return err
		}
	}
	return writePage(filepath.Join(s.cfg.Dir, "index.html"), p)
}

func newCard(t status) card {
	state := t.state
	if t.endReason != "" {
		state += ": " + t.endReason
	}
	return card{
		Title: t.role.participant.Name + "'s " + t.role.sourceName(), Codec: string(t.codec), Format: t.delivered(), State: state,
		Content: t.mark, Verdict: t.verdict(), Frames: t.frames, Lost: t.lost, Dropped: t.dropped + t.holes, Checked: t.rightMarks,
		FPS: fmt.Sprintf("%.1f", t.fps()), Delay: milliseconds(t.delay()),
	}
}

// outline draws the loudest of each stretch of a sound.
func outline(samples []int16) []bar {
	const count, width, height = 80, 160.0, 90.0
	bars := make([]bar, 0, count)
	for i := range count {
		loudest := 0
		for _, v := range samples[i*len(samples)/count : (i+1)*len(samples)/count] {
			loudest = max(loudest, int(v), -int(v))
		}
		h := max(float64(loudest)/32768*height*0.8, 1)
		bars = append(bars, bar{X: (float64(i) + 0.5) * width / count, Y: (height - h) / 2, Height: h})
	}
	return bars
}

// writeTrack writes what a worker kept. A worker that got nothing leaves no file.
func (s *stage) writeTrack(w *worker, c *card) (err error) {
	switch {
	case w.picture != nil:
		c.File = w.role.name + ".png"
		path := filepath.Join(s.cfg.Dir, c.File)
		img := w.picture.render()
		c.Width, c.Height = img.Bounds().Dx(), img.Bounds().Dy()
		if err = writePNG(path, img); err == nil {
			c.Picture, err = dataURL(path, "image/png")
		}
	case len(w.samples) > 0:
		c.File = w.role.name + ".wav"
		path := filepath.Join(s.cfg.Dir, c.File)
		c.Bars = outline(w.samples)
		c.Seconds = fmt.Sprintf("%.1f s", float64(len(w.samples))/sampleRate)
		if err = writeFile(path, func(out io.Writer) error { return writeWAV(out, w.samples, sampleRate) }); err == nil {
			c.Sound, err = dataURL(path, "audio/wav")
		}
	}
	return err
}

func writePNG(path string, img image.Image) error {
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	return writeFile(path, func(out io.Writer) error { return encoder.Encode(out, img) })
}

// writeWAV writes mono 16 bit PCM with the 44 bytes of a canonical RIFF WAVE header.
func writeWAV(out io.Writer, samples []int16, rate uint32) error {
	size := uint32(2 * len(samples))
	header := append(make([]byte, 0, 44), "RIFF"...)
	header = binary.LittleEndian.AppendUint32(header, 36+size)
	header = append(header, "WAVEfmt "...)
	header = binary.LittleEndian.AppendUint32(header, 16)
	header = binary.LittleEndian.AppendUint16(header, 1) // PCM
	header = binary.LittleEndian.AppendUint16(header, 1) // channels
	header = binary.LittleEndian.AppendUint32(header, rate)
	header = binary.LittleEndian.AppendUint32(header, 2*rate)
	header = binary.LittleEndian.AppendUint16(header, 2)
	header = binary.LittleEndian.AppendUint16(header, 16)
	header = append(header, "data"...)
	header = binary.LittleEndian.AppendUint32(header, size)
	if _, err := out.Write(header); err != nil {
		return err
	}
	return binary.Write(out, binary.LittleEndian, samples)
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(f)
	return errors.Join(write(buffered), buffered.Flush(), f.Close())
}

func dataURL(path, mimeType string) (template.URL, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return template.URL("data:" + mimeType + ";base64," + base64.StdEncoding.EncodeToString(b)), nil
}

func writePage(path string, p page) error {
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return fmt.Errorf("parse the page's template: %w", err)
	}
	if err := writeFile(path, func(out io.Writer) error { return t.Execute(out, p) }); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}
