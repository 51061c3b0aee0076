package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4/pkg/media/ivfwriter"
	"github.com/pion/webrtc/v4/pkg/media/rtpdump"
)

// convert writes the pictures of an rtpdump file from the given one on as IVF, with pion's depacketizers, for a reference decoder. schedule is a list
// PICTURE:LAYER: from that picture on only spatial layers up to that are taken.
func convert(in, codec, schedule, out string) error {
	highest, err := parseSchedule(schedule)
	if err != nil {
		return err
	}
	f, err := os.Open(in)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	r, _, err := rtpdump.NewReader(f)
	if err != nil {
		return err
	}
	o, err := os.Create(out)
	if err != nil {
		return err
	}
	w, err := newIVF(o, codec)
	if err != nil {
		return err
	}
	picture, last, unit, layer := -1, uint32(0), []byte(nil), 0
	var av1 *codecs.AV1Depacketizer
	for {
		raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			return errors.Join(w.write(unit), o.Close())
		}
		p := &rtp.Packet{}
		if err == nil {
			err = p.Unmarshal(raw.Payload)
		}
		if err != nil {
			return err
		}
		if picture < 0 || p.Timestamp != last {
			if err := w.write(unit); err != nil {
				return err
			}
			unit, last, av1 = nil, p.Timestamp, &codecs.AV1Depacketizer{}
			picture++
		}
		var data []byte
		if codec == "VP9" {
			var head codecs.VP9Packet
			data, err = head.Unmarshal(p.Payload)
			layer = int(head.SID)
		} else {
			layer = av1Layer(p.Payload, layer)
			if layer <= highest(picture) {
				data, err = av1.Unmarshal(p.Payload)
			}
		}
		if err != nil {
			return err
		}
		if layer <= highest(picture) {
			unit = append(unit, data...)
		}
	}
}

// parseSchedule returns the highest layer of each picture; -1 before the first.
func parseSchedule(text string) (func(picture int) int, error) {
	from, layer := []int{0}, []int{-1}
	for entry := range strings.SplitSeq(text, ",") {
		a, b, _ := strings.Cut(entry, ":")
		n, err := strconv.Atoi(a)
		m, err2 := strconv.Atoi(b)
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("schedule: %w", err)
		}
		from, layer = append(from, n), append(layer, m)
	}
	return func(picture int) int {
		i := len(from) - 1
		for from[i] > picture {
			i--
		}
		return layer[i]
	}, nil
}

// av1Layer returns the spatial layer of a packet whose OBU elements have a size but for the last. A packet that goes on with a fragment is of the layer of
// the one before.
func av1Layer(b []byte, before int) int {
	count := int(b[0] >> 4 & 3)
	if b[0]&0x80 != 0 || count == 0 {
		return before
	}
	b = b[1:]
	for i := 1; ; i++ {
		size, n := len(b), 0
		if i < count {
			size = 0
			for shift := 0; ; shift += 7 {
				size |= int(b[n]&0x7f) << shift
				n++
				if b[n-1]&0x80 == 0 {
					break
				}
			}
		}
		if obu := b[n:]; obu[0]&4 != 0 {
			return int(obu[1] >> 3 & 3)
		}
		if i == count {
			return 0
		}
		b = b[n+size:]
	}
}

type ivf struct {
	out   *os.File
	codec string
	n     int
}

// newIVF writes the header alone by pion; frames are whole units here.
func newIVF(o *os.File, codec string) (*ivf, error) {
	_, err := ivfwriter.NewWith(o, ivfwriter.WithCodec("video/"+codec))
	return &ivf{out: o, codec: codec}, err
}

func (w *ivf) write(unit []byte) error {
	if len(unit) == 0 {
		return nil
	}
	if w.codec == "AV1" {
		unit = append([]byte{0x12, 0}, unit...)
	}
	head := make([]byte, 12)
	for i := range 4 {
		head[i] = byte(len(unit) >> (8 * i))
	}
	head[4] = byte(w.n)
	w.n++
	_, err := w.out.Write(append(head, unit...))
	return err
}
