package media

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// writtenPayload is one unit, written by hand from the RFCs.
type writtenPayload struct {
	name     string
	codec    Codec
	payloads string // a bar begins the next packet
	want     string // the unit; "-" when it is malformed or not whole
}

func writtenPayloads() []writtenPayload {
	const start = "00000001"
	return []writtenPayload{
		{"slice", CodecH264, "6588aa", start + "6588aa"},
		{"slice and an end of sequence of one byte", CodecH264, "6588aa|0a", start + "6588aa" + start + "0a"},
		{"STAP-A", CodecH264, "78 0002 0910 0003 6588aa", start + "0910" + start + "6588aa"},
		{"STAP-A of nothing", CodecH264, "6588aa|78", "-"},
		{"STAP-A with a length of 0", CodecH264, "78 0000 0003 6588aa", "-"},
		{"STAP-A with a length beyond its end", CodecH264, "78 0004 6588aa", "-"},
		{"STAP-A with half a length", CodecH264, "78 0003 6588aa 00", "-"},
		{"FU-A", CodecH264, "7c 85 88aa|7c 05 bb|7c 45 cc", start + "6588aabbcc"},
		{"FU-A and STAP-A", CodecH264, "78 0002 0910|7c 85 88aa|7c 45 cc", start + "0910" + start + "6588aacc"},
		{"FU-A without start", CodecH264, "7c 05 88aa|7c 45 bb", "-"},
		{"FU-A without end", CodecH264, "7c 85 88aa|7c 05 bb", "-"},
		{"FU-A that starts twice", CodecH264, "7c 85 88aa|7c 85 88aa|7c 45 cc", "-"},
		{"FU-A that starts and ends", CodecH264, "7c c5 88aa", "-"},
		{"FU-A of nothing", CodecH264, "7c 85|7c 45 88", "-"},
		{"FU-A cut by a slice", CodecH264, "7c 85 88aa|6588aa", "-"},
		{"STAP-B", CodecH264, "79 0000 0003 6588aa", "-"},
		{"the second slice alone", CodecH264, "6548aa", "-"},

		{"slice", CodecH265, "2601 afbb", start + "2601afbb"},
		{"slice and an end of sequence of two bytes", CodecH265, "2601 afbb|4801", start + "2601afbb" + start + "4801"},
		{"forbidden bit", CodecH265, "a601 afbb", "-"},
		{"temporal id of -1", CodecH265, "2600 afbb", "-"},
		{"AP", CodecH265, "6001 0003 460150 0004 2601afbb", start + "460150" + start + "2601afbb"},
		{"AP of nothing", CodecH265, "2601 afbb|6001", "-"},
		{"AP with a length of 1", CodecH265, "6001 0001 46 0004 2601afbb", "-"},
		{"AP with a length beyond its end", CodecH265, "6001 0005 2601afbb", "-"},
		{"FU", CodecH265, "6201 93 afbb|6201 13 cc|6201 53 dd", start + "2601afbbccdd"},
		{"FU keeps layer and temporal id", CodecH265, "6202 81 afbb|6202 41 cc", start + "0202afbbcc"},
		{"FU of a layer above", CodecH265, "2601 afbb|6209 93 af|6209 53 dd", start + "2601afbb"},
		{"FU without start", CodecH265, "6201 13 afbb|6201 53 cc", "-"},
		{"FU without end", CodecH265, "6201 93 afbb", "-"},
		{"FU that starts and ends", CodecH265, "6201 d3 afbb", "-"},
		{"FU of nothing", CodecH265, "6201 93|6201 53 afbb", "-"},
		{"PACI", CodecH265, "6401 0000 2601afbb", "-"},

		{"W of 0: each has a length", CodecAV1, "08 02 0801 03 30 1000", "1200 0a0101 3202 1000"},
		{"W of 2: the last has none", CodecAV1, "28 02 0801 30 1000", "1200 0a0101 3202 1000"},
		{"an OBU that has its size", CodecAV1, "28 03 0a0101 3202 1000", "1200 0a0101 3202 1000"},
		{"fragments", CodecAV1, "68 02 0801 30 10|90 00", "1200 0a0101 3202 1000"},
		{"delimiter and tile list", CodecAV1, "38 01 10 02 4000 30 1000", "1200 3202 1000"},
		{"an extension", CodecAV1, "28 02 0801 34 28 1000", "1200 0a0101 3628 02 1000"},
		{"a fragment without its beginning", CodecAV1, "90 3000", "-"},
		{"a fragment in what begins a sequence", CodecAV1, "58 3010|98 00", "-"},
		{"a fragment that does not go on", CodecAV1, "58 3010|10 3000", "-"},
		{"a fragment without end", CodecAV1, "58 3010", "-"},
		{"a length beyond the end", CodecAV1, "08 05 0a01", "-"},
		{"a length without end", CodecAV1, "08 ffffffffffffffffff", "-"},
		{"a length that is huge", CodecAV1, "08 ffffff7f 30", "-"},

		{"no fields", CodecVP9, "0c 82 49", "8249"},
		{"picture id of 7 bits", CodecVP9, "8c 7f 82 49", "8249"},
		{"picture id of 15 bits", CodecVP9, "8c ffff 82 49", "8249"},
		{"layers", CodecVP9, "ac 05 20 07 82 49", "8249"},
		{"layers, flexible", CodecVP9, "bc 05 20 82 49", "8249"},
		{"flexible with three references", CodecVP9, "fc 05 20 03 05 06 86 49", "8649"},
		{"flexible with four references", CodecVP9, "fc 05 20 03 05 07 06 86 49", "-"},
		{"structure", CodecVP9, "8e 05 38 0140 00b4 0280 0168 02 04 01 50 86 49", "8649"},
		{"structure with references", CodecVP9, "8e 05 08 02 04 01 08 01 02 86 49", "8649"},
		{"structure beyond the end", CodecVP9, "8e 05 f8 0140 00b4", "-"},
		{"descriptor beyond the end", CodecVP9, "8c ff", "-"},
		{"descriptor alone", CodecVP9, "8c 05", "-"},
		{"frame in two packets", CodecVP9, "08 82|04 49", "8249"},
		{"frame without beginning", CodecVP9, "04 8249", "-"},
		{"frame without end", CodecVP9, "08 8249", "-"},
		{"frame that begins twice", CodecVP9, "08 82|0c 8249", "-"},
		{"two layers", CodecVP9, "2c 00 00 8249|2c 02 00 8650", "8249 8650 c1 02 02 c1"},
	}
}

func TestF12_PayloadsToTheLetter(t *testing.T) {
	for _, c := range writtenPayloads() {
		t.Run(c.codec.String()+" "+c.name, func(t *testing.T) {
			p := CodecParameters{Codec: c.codec, PayloadType: 96, ClockRate: 90000}
			got := assembled{}
			a := assembler{emit: got.take}
			packets := strings.Split(c.payloads, "|")
			for i, text := range packets {
				a.push(&packet{seq: int64(i), timestamp: 1, marker: i == len(packets)-1, codec: &p, payload: fromHex(t, text)})
			}
			if c.want == "-" {
				if len(got.data) != 0 || a.incomplete != 1 {
					t.Errorf("%x, %d given up", got.data, a.incomplete)
				}
				return
			}
			if want := fromHex(t, c.want); len(got.data) != 1 || !bytes.Equal(got.data[0], want) {
				t.Errorf("%x, want %x", got.data, want)
			}
		})
	}
}

func fromHex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
