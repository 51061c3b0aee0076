#!/bin/sh
# Makes the fixtures of this directory: clips, and what other programs make of them. Needs a Debian machine with
# ffmpeg, opus-tools, sox, espeak-ng, gzip, vpx-tools, aom-tools, chromium, Go, and apt-get for the photograph's package. The result is committed.
#
# What is expected of a picture is a line "WIDTHxHEIGHT MD5" of its planes without padding. VP8 is decoded by libvpx,
# H.264 by the ffmpeg program, G.722 too, Opus by opusdec, G.711 by sox.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
ff() { ffmpeg -v error -nostdin -y "$@"; }

apt-get download lomiri-wallpapers-16.04
dpkg-deb -x lomiri-wallpapers-16.04_*.deb photos
photo=photos/usr/share/backgrounds/seeding_by_Clements_Engelhardt.jpg

# camera WIDTH HEIGHT FRAMES FORMAT: a window that pans over the photograph, with a little noise.
camera() {
	ff -loop 1 -framerate 30 -i "$photo" -frames:v "$3" -vf "scale=$(($1 * 5 / 4)):-2:out_color_matrix=bt601:out_range=limited,crop=$1:$2:x='3*n':y='60+n':exact=1,setsar=1,noise=alls=4:allf=t:all_seed=7,format=$4" \
		-f yuv4mpegpipe -strict -1 "camera-$1x$2-$4.y4m"
}
# sums DECODER FILE: the expected lines. Unaligned: else the program would round a crop on the left.
sums() {
	size=$(ffprobe -v error -select_streams v -show_entries stream=width,height -of csv=p=0:s=x "$2" | head -n 1)
	ff -flags unaligned ${1:+-c:v "$1"} -i "$2" -fps_mode passthrough -f framemd5 - | sed -n "/^#/d;s/.*, */$size /p"
}
vp8() { # NAME WIDTH HEIGHT FRAMES BITRATE
	camera "$2" "$3" "$4" yuv420p
	ff -i "camera-$2x$3-yuv420p.y4m" -bitexact -threads 1 -c:v libvpx -b:v "$5" -g 100 -deadline good -cpu-used 2 \
		-lag-in-frames 0 -auto-alt-ref 0 "$1.ivf"
	sums libvpx "$1.ivf" >"$1.md5"
}
h264() { # NAME WIDTH HEIGHT FRAMES FORMAT PROFILE CRF X264PARAMS
	camera "$2" "$3" "$4" "$5"
	ff -i "camera-$2x$3-$5.y4m" -bitexact -threads 1 -c:v libx264 -profile:v "$6" -crf "$7" \
		-x264-params "keyint=100:scenecut=0:bframes=0:repeat-headers=1:$8" -f h264 "$1.h264"
	sums '' "$1.h264" >"$1.md5"
}
vp9() { # NAME WIDTH HEIGHT FRAMES FORMAT OPTIONS...
	name=$1 size=$2x$3 format=$5
	camera "$2" "$3" "$4" "$5"
	shift 5
	ff -i "camera-$size-$format.y4m" -bitexact -threads 1 -c:v libvpx-vp9 -b:v 150k -g 100 -deadline realtime -cpu-used 5 \
		-lag-in-frames 0 -auto-alt-ref 0 "$@" "$name.ivf"
	sums libvpx-vp9 "$name.ivf" >"$name.md5"
}
h265() { # NAME WIDTH HEIGHT FRAMES FORMAT X265PARAMS
	camera "$2" "$3" "$4" "$5"
	ff -i "camera-$2x$3-$5.y4m" -bitexact -threads 1 -c:v libx265 -crf 32 \
		-x265-params "log-level=none:info=0:keyint=100:min-keyint=100:scenecut=0:bframes=0:open-gop=0:repeat-headers=1:pools=none:$6" -f hevc "$1.h265"
	sums '' "$1.h265" >"$1.md5"
}
av1() { # NAME WIDTH HEIGHT FRAMES FORMAT AOMPARAMS
	camera "$2" "$3" "$4" "$5"
	ff -i "camera-$2x$3-$5.y4m" -bitexact -threads 1 -c:v libaom-av1 -usage realtime -cpu-used 7 -b:v 150k -g 100 -lag-in-frames 0 \
		-aom-params "$6" "$1.ivf"
	sums libaom-av1 "$1.ivf" >"$1.md5"
}
# resized CODEC EXTENSION: what was made as small and large, one after the other.
resized() {
	if [ "$2" = ivf ]; then
		{ cat small.ivf; tail -c +33 large.ivf; tail -c +33 small.ivf; } >"$1-resize.ivf"
	else
		cat "small.$2" "large.$2" "small.$2" >"$1-resize.$2"
	fi
	cat small.md5 large.md5 small.md5 >"$1-resize.md5"
}
keep() { cp "$@" "$here/"; }

vp8 vp8 640 360 12 300k
vp8 vp8-odd 321 179 8 200k
vp8 small 161 91 4 100k
vp8 large 320 180 4 200k
resized vp8 ivf # a change of size in mid-stream
vp8 vp8-1080p 1920 1080 10 300k
keep vp8-1080p.ivf vp8.ivf vp8.md5 vp8-odd.ivf vp8-odd.md5 vp8-resize.ivf vp8-resize.md5

h264 h264-baseline 640 360 10 yuv420p baseline 32 slices=1
h264 h264-high 640 360 10 yuv420p high 32 slices=4:cabac=1:ref=3:colormatrix=bt709:colorprim=bt709:transfer=bt709
h264 h264-422 160 90 3 yuv422p high422 30 fullrange=on
h264 h264-444 160 90 3 yuv444p high444 30 slices=1
h264 h264-10bit 160 90 3 yuv420p10le high10 30 slices=1
h264 small 160 90 4 yuv420p baseline 30 slices=1
h264 large 322 182 4 yuv420p high 30 slices=2
resized h264 h264
ff -i large.h264 -c copy -bsf:v h264_metadata=crop_left=6:crop_top=4 -bitexact -f h264 h264-crop.h264
sums '' h264-crop.h264 >h264-crop.md5
# Pictures that nothing refers to between those that stay: what an SFU sees as temporal layers.
h264 h264-layers 160 90 13 yuv420p main 30 bframes=2:b-adapt=0:b-pyramid=0:weightp=0
keep h264-layers.h264
for n in baseline high 422 444 10bit resize crop; do keep "h264-$n.h264" "h264-$n.md5"; done

vp9 vp9 320 180 12 yuv420p
vp9 vp9-odd 161 91 6 yuv420p
vp9 vp9-10bit 160 90 4 yuv420p10le -profile:v 2
vp9 small 161 91 4 yuv420p
vp9 large 320 180 4 yuv420p
resized vp9 ivf
h265 h265 320 180 10 yuv420p ref=3
h265 h265-odd 162 90 6 yuv420p ref=2
h265 h265-10bit 160 90 4 yuv420p10le ref=1
h265 h265-slices 640 360 4 yuv420p slices=4:ref=1:pools=2 # which x265 cannot do without
h265 small 160 90 4 yuv420p ref=1
h265 large 320 180 4 yuv420p ref=1
resized h265 h265
av1 av1 320 180 12 yuv420p row-mt=0
av1 av1-odd 161 91 6 yuv420p row-mt=0
av1 av1-grain 160 90 4 yuv420p film-grain-test=2
av1 av1-10bit 160 90 4 yuv420p10le row-mt=0
av1 small 161 91 4 yuv420p row-mt=0
av1 large 320 180 4 yuv420p row-mt=0
resized av1 ivf
for n in '' -odd -10bit -resize; do keep "vp9$n.ivf" "vp9$n.md5" "h265$n.h265" "h265$n.md5" "av1$n.ivf" "av1$n.md5"; done
keep h265-slices.h265 h265-slices.md5
keep av1-grain.ivf av1-grain.md5

# Spatial layers, as Chromium sends them, and what other decoders make of all of them and of those that a schedule leaves (see capture/ivf.go).
layers() { # NAME CODEC DECODER MODE WIDTH HEIGHT BITRATE PICTURES ALL SCHEDULE
	capture "$1.rtpdump" "$2" "$4" "$5" "$6" "$7" "$8"
	capture ivf "$1.rtpdump" "$2" "$9" all.ivf
	capture ivf "$1.rtpdump" "$2" "${10}" some.ivf
	"$3" --rawvideo --md5 -o '%wx%h-%4' all.ivf | sed 's/\([^ ]*\) *\(.*\)-.*/\2 \1/' >"$1.md5"
	"$3" --rawvideo --md5 -o '%wx%h-%4' some.ivf | sed 's/\([^ ]*\) *\(.*\)-.*/\2 \1/' >"$1-some.md5"
	keep "$1.rtpdump" "$1.md5" "$1-some.md5"
}
capture() { "$work/capture-packets" "$@"; }
(cd "$here" && go build -o "$work/capture-packets" ./capture)
layers vp9-l3t3 VP9 vpxdec L3T3_KEY 960 540 900000 16 1:2 1:2,4:0,8:2,12:1
layers av1-l2t2 AV1 aomdec L2T2 640 360 500000 20 1:1 1:1,5:0,10:1,15:0

# One photograph, as a source for conversions, and what swscale makes of it.
raw() { ff -f rawvideo -pix_fmt yuv420p -s 161x91 -i photo.i420 -vf "$1" -f rawvideo "$2"; }
ff -i "$photo" -frames:v 1 -vf "scale=200:-2:out_color_matrix=bt601:out_range=limited:flags=area,crop=161:91:exact=1,format=yuv420p" -f rawvideo photo.i420
raw scale=80:45:flags=area photo-80x45.i420
raw scale=121:68:flags=area photo-121x68.i420
raw scale=241:137:flags=bilinear photo-241x137.i420
raw transpose=clock photo-90.i420
raw vflip,hflip photo-180.i420
raw transpose=cclock photo-270.i420
raw format=nv12 photo.nv12
exact=flags=accurate_rnd+full_chroma_int+full_chroma_inp+neighbor
raw "scale=in_color_matrix=bt601:in_range=limited:$exact,format=rgb24" photo-601.rgb
raw "scale=in_color_matrix=bt601:in_range=full:$exact,format=rgb24" photo-601-full.rgb
raw "scale=in_color_matrix=bt709:in_range=limited:$exact,format=rgb24" photo-709.rgb
raw "scale=in_color_matrix=bt709:in_range=full:$exact,format=rgb24" photo-709-full.rgb
raw "scale=in_color_matrix=bt2020:in_range=limited:$exact,format=rgb24" photo-2020.rgb
gzip -n9 photo*.i420 photo.nv12 photo*.rgb
keep photo*.gz
for n in 422 444 10bit; do # the first picture of each, as swscale halves its chroma
	ff -i "h264-$n.h264" -frames:v 1 -vf scale=out_range=full:in_range=full:flags=area,format=yuv420p -f rawvideo "h264-$n.i420"
	gzip -n9 "h264-$n.i420"
	keep "h264-$n.i420.gz"
done

# Speech, and for stereo a tone on one side.
espeak-ng -v en -s 180 -w voice.wav "Water runs down the penstock, and turns the wheel."
sox -R voice.wav -r 48000 -c 1 voice48.wav gain -n -6
sox -R -n -r 48000 -c 1 tone.wav synth 3 sine 300-3000 vol 0.3
sox -R -M voice48.wav tone.wav both.wav trim 0 2
opus() { # NAME INPUT TRIM OPTIONS...
	name=$1 input=$2 from=$3 length=$4
	shift 4
	sox -R "$input" cut.wav trim "$from" "$length"
	ff -i cut.wav -bitexact -c:a libopus "$@" "$name.ogg"
}
expect() { # NAME
	opusdec --quiet --no-dither --rate 48000 "$1.ogg" "$1.wav"
	sox "$1.wav" -t s16 -L "$1.pcm"
	gzip -n9 "$1.pcm"
	keep "$1.ogg" "$1.pcm.gz"
}
opus opus-mono voice48.wav 0.2 1 -b:a 32k -vbr on -frame_duration 20
expect opus-mono
opus opus-stereo both.wav 0.2 0.8 -b:a 64k -frame_duration 20
expect opus-stereo
# A change in mid-stream of channels, bandwidth, packet length and mode (SILK, hybrid, CELT).
opus part1 both.wav 0.2 0.3 -b:a 96k -application lowdelay -frame_duration 10
opus part2 voice48.wav 0.5 0.36 -b:a 12k -application voip -frame_duration 60
opus part3 voice48.wav 0.8 0.3 -b:a 28k -application voip -frame_duration 20
printf "file part%d.ogg\n" 1 2 3 1 >parts.txt
ff -f concat -i parts.txt -c copy -bitexact -output_ts_offset 0.1 opus-change.ogg
expect opus-change
sox -R voice48.wav silence48.wav trim 0.3 0.3 pad 0 1.2
# 4016 is OPUS_SET_DTX: after 200 ms of silence packets are one byte, but for a refresh every 400 ms.
opusenc --quiet --serial 1 --bitrate 14 --speech --framesize 20 --max-delay 20 --set-ctl-int 4016=1 silence48.wav opus-dtx.ogg
expect opus-dtx
opus opus-fec voice48.wav 0.2 1.4 -b:a 24k -application voip -fec 1 -packet_loss 25 -frame_duration 20
keep opus-fec.ogg

sox -R voice48.wav -r 8000 -c 1 voice8.wav trim 0.2 1
sox -R voice8.wav -t ul pcmu.raw
sox -R voice8.wav -t al pcma.raw
sox -t ul -r 8000 -c 1 pcmu.raw -t s16 -L pcmu.pcm
sox -t al -r 8000 -c 1 pcma.raw -t s16 -L pcma.pcm
gzip -n9 pcmu.pcm pcma.pcm
sox -R voice48.wav -r 16000 -c 1 voice16.wav trim 0.2 1
ff -i voice16.wav -bitexact -c:a g722 -f g722 g722.g722
ff -f g722 -i g722.g722 -bitexact -f s16le g722.pcm
gzip -n9 g722.pcm
keep pcmu.raw pcma.raw pcmu.pcm.gz pcma.pcm.gz g722.g722 g722.pcm.gz
