package media

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4/pkg/media/h264reader"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"

	"github.com/penstock-media/penstock/media/internal/cmem"
)

// fixture reads a file of testdata; what ends in .gz is unpacked.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(name, ".gz") {
		return b
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if b, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return b
}

// clipUnits returns the access units or packets of a clip. G.711 is cut into packets of 20 ms.
func clipUnits(t testing.TB, name string) [][]byte {
	t.Helper()
	b := fixture(t, name)
	switch filepath.Ext(name) {
	case ".ivf":
		return ivfUnits(t, b)
	case ".h264":
		return annexBUnits(t, b)
	case ".h265":
		return h265Units(b)
	case ".ogg":
		packets, _ := oggPackets(t, b)
		return packets
	}
	var units [][]byte
	for len(b) > 0 {
		n := min(160, len(b))
		units, b = append(units, b[:n]), b[n:]
	}
	return units
}

func ivfUnits(t testing.TB, b []byte) [][]byte {
	r, _, err := ivfreader.NewWith(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var units [][]byte
	for {
		u, _, err := r.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			return units
		}
		if err != nil {
			t.Fatal(err)
		}
		units = append(units, u)
	}
}

// annexBUnits cuts where a slice says that it is the first of a picture (first_mb_in_slice is 0), parameter sets before it included.
func annexBUnits(t testing.TB, b []byte) [][]byte {
	r, err := h264reader.NewReaderWithOptions(bytes.NewReader(b), h264reader.WithIncludeSEI(true))
	if err != nil {
		t.Fatal(err)
	}
	var units [][]byte
	hasSlice := true
	for {
		nal, err := r.NextNAL()
		if errors.Is(err, io.EOF) {
			return units
		}
		if err != nil {
			t.Fatal(err)
		}
		slice := nal.UnitType == h264reader.NalUnitTypeCodedSliceIdr || nal.UnitType == h264reader.NalUnitTypeCodedSliceNonIdr
		if hasSlice && (!slice || nal.Data[1]&0x80 != 0) {
			units, hasSlice = append(units, nil), false
		}
		hasSlice = hasSlice || slice
		last := &units[len(units)-1]
		*last = append(append(*last, 0, 0, 0, 1), nal.Data...)
	}
}

// h265Units cuts before what follows a picture's last slice: parameter sets, or a slice that is the first of a picture.
func h265Units(b []byte) [][]byte {
	var units [][]byte
	hasSlice := true
	for start := nextNAL(b, 0); start >= 0; {
		next := nextNAL(b, start)
		nal := b[start:]
		if next >= 0 {
			nal = bytes.TrimRight(b[start:next-3], "\x00")
		}
		slice := h265Type(nal[0]) <= hevcVCLEnd
		if hasSlice && (!slice || nal[2]&0x80 != 0) {
			units, hasSlice = append(units, nil), false
		}
		hasSlice = hasSlice || slice
		last := &units[len(units)-1]
		*last = append(append(*last, annexBStart...), nal...)
		start = next
	}
	return units
}

// oggPackets returns the packets after the two headers, and the pre-skip in samples at 48 kHz (RFC 7845 section 5.1).
func oggPackets(t testing.TB, b []byte) (packets [][]byte, preSkip int) {
	var packet []byte
	for len(b) > 0 {
		if len(b) < 27 || string(b[:4]) != "OggS" || len(b) < 27+int(b[26]) {
			t.Fatal("not an Ogg page")
		}
		lacing, body := b[27:27+int(b[26])], b[27+int(b[26]):]
		for _, n := range lacing {
			packet, body = append(packet, body[:n]...), body[n:]
			if n < 255 {
				packets, packet = append(packets, packet), nil
			}
		}
		b = body
	}
	return packets[2:], int(binary.LittleEndian.Uint16(packets[0][10:]))
}

// checkMemory fails the test when C memory is left after it.
func checkMemory(t testing.TB) {
	t.Helper()
	if live := cmem.Live(); len(live) > 0 {
		t.Fatalf("C memory held before the test: %+v", live)
	}
	t.Cleanup(func() {
		if live := cmem.Live(); len(live) > 0 {
			t.Errorf("C memory left: %+v", live)
		}
	})
}

// annexBNALs cuts a unit made by annexBUnits into its NAL units.
func annexBNALs(unit []byte) [][]byte {
	return bytes.Split(unit[4:], []byte{0, 0, 0, 1})
}

// encodeSet encodes a parameter set as sprop-parameter-sets has it.
func encodeSet(nal []byte) string { return base64.StdEncoding.EncodeToString(nal) }
