#!/bin/sh
# Makes the clips of this directory. Needs a Debian machine with Go, ffmpeg, espeak-ng,
# sox, opus-tools, fonts-dejavu-core, and apt-get for the photographs' package.
# The result is committed; run this only to change what they show.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

apt-get download lomiri-wallpapers-16.04
dpkg-deb -x lomiri-wallpapers-16.04_*.deb photos
photos=$work/photos/usr/share/backgrounds
font=/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf

# watermark ID prints the filters that draw the strip that ReadWatermark reads: 16
# blocks of w/32 by h/18 starting at (w/32, h/18), 8 bits of the id, highest first, then their complement.
watermark() {
	id=$1 i=0 out=
	while [ $i -lt 16 ]; do
		if [ $i -lt 8 ]; then bit=$(((id >> (7 - i)) & 1)); else bit=$((1 - ((id >> (15 - i)) & 1))); fi
		if [ $bit = 1 ]; then colour=white; else colour=black; fi
		out="$out,drawbox=x=iw/32*$((i + 1)):y=ih/18:w=iw/32:h=ih/18:color=$colour:t=fill"
		i=$((i + 1))
	done
	printf %s "$out"
}

# pan WIDTH HEIGHT SECONDS TOP prints the filters that move a window slowly over a picture and end where they began.
pan() {
	printf %s "scale=$(($1 * 5 / 4)):-2,crop=$1:$2:x='(iw-ow)*(0.5-0.5*cos(2*PI*t/$3))':y='(ih-oh)*($4+0.1*sin(2*PI*t/$3))',setsar=1,noise=alls=5:allf=t:all_seed=7"
}

# The camera of alice: VP8 1280×720, 30 fps, 5 s, a key frame every 2.5 s.
ffmpeg -v error -y -loop 1 -framerate 30 -t 5 -i "$photos/friends_by_Aitzol_Berasategi.jpg" \
	-vf "$(pan 1280 720 5 0.12)$(watermark 53),format=yuv420p" -bitexact -threads 1 -c:v libvpx \
	-b:v 1400k -minrate 1400k -maxrate 1400k -bufsize 1400k -g 75 -keyint_min 75 \
	-deadline good -cpu-used 1 -lag-in-frames 0 -auto-alt-ref 0 "$here/alice-camera.ivf"

# The camera of carol in three encodings (simulcast): VP8 160×90, 320×180 and 640×360, 15 fps, 2 s, a key frame at the beginning.
for layer in "160 90 40k 21 q" "320 180 100k 42 h" "640 360 300k 84 f"; do
	set -- $layer
	ffmpeg -v error -y -loop 1 -framerate 15 -t 2 -i "$photos/friends_by_Aitzol_Berasategi.jpg" \
		-vf "$(pan "$1" "$2" 2 0.12)$(watermark "$4"),format=yuv420p" -bitexact -threads 1 -c:v libvpx \
		-b:v "$3" -minrate "$3" -maxrate "$3" -bufsize "$3" -g 30 -keyint_min 30 \
		-deadline good -cpu-used 1 -lag-in-frames 0 -auto-alt-ref 0 "$here/carol-$5.ivf"
done

# The camera of bob: H.264 constrained baseline 640×360, 30 fps, 4 s, a key frame every 2 s.
ffmpeg -v error -y -loop 1 -framerate 30 -t 4 -i "$photos/seeding_by_Clements_Engelhardt.jpg" \
	-vf "$(pan 640 360 4 0.5)$(watermark 154),format=yuv420p" -bitexact -threads 1 -c:v libx264 -profile:v baseline -level 3.1 \
	-b:v 400k -maxrate 400k -bufsize 400k \
	-x264-params keyint=60:min-keyint=60:scenecut=0:bframes=0:slices=1:repeat-headers=1 -f h264 "$here/bob-camera.h264"

# The screen of bob: H.264 constrained baseline 1280×720, 10 fps, 5 s: a text that scrolls.
sed -n '1,60p' "$here/make.sh" | sed 's/\\/\//g; s/%/ /g; s/\t/    /g' >screen.txt
ffmpeg -v error -y -f lavfi -i color=c=0x1e2430:s=1280x720:r=10:d=5 \
	-vf "drawtext=fontfile=$font:textfile=screen.txt:expansion=none:fontsize=18:fontcolor=0xd8dee9:line_spacing=6:x=40:y=110-40*t$(watermark 198),drawbox=x=0:y=0:w=iw:h=ih/24:color=0x3b4252:t=fill,format=yuv420p" \
	-bitexact -threads 1 -c:v libx264 -profile:v baseline -level 3.1 -b:v 300k -maxrate 400k -bufsize 400k \
	-x264-params keyint=25:min-keyint=25:scenecut=0:bframes=0:slices=1:repeat-headers=1 -f h264 "$here/bob-screen.h264"

# speech VOICE CHANNELS HERTZ FILE TEXT: five seconds of speech over a quiet steady tone, Opus 48 kHz in packets of 20 ms, one a page.
speech() {
	espeak-ng -v "$1" -s 190 -w voice.wav "$5"
	sox -R voice.wav -r 48000 -c "$2" voice48.wav gain -n -6 pad 0.2 trim 0 5
	sox -R -n -r 48000 -c "$2" tone.wav synth 5 sine "$3" vol 0.06
	sox -R -m -v 1 voice48.wav -v 1 tone.wav -b 16 mixed.wav
	opusenc --quiet --serial "$3" --bitrate 32 --framesize 20 --max-delay 20 --comp 10 mixed.wav "$here/$4"
}
speech en-us 1 1000 alice-microphone.ogg "Hello, this is Alice. The water falls through the penstock and turns the wheel below."
speech en-gb-scotland 2 1500 bob-microphone.ogg "Bob here. I am going to share my screen now, so that everybody can read along with me."

# What the ffmpeg program decodes, for tests: three pictures of each video over one another, and two seconds of each microphone.
for clip in alice-camera.ivf bob-camera.h264 bob-screen.h264; do
	ffmpeg -v error -y -i "$here/$clip" -vf "select='not(mod(n,24))',scale=160:90,tile=1x3" -frames:v 1 -pix_fmt gray "$here/testdata/$clip.png"
done
for clip in carol-q.ivf carol-h.ivf carol-f.ivf; do
	ffmpeg -v error -y -i "$here/$clip" -vf "select='not(mod(n,10))',scale=160:90,tile=1x3" -frames:v 1 -pix_fmt gray "$here/testdata/$clip.png"
done
for clip in alice-microphone.ogg bob-microphone.ogg; do
	ffmpeg -v error -y -ss 1 -t 2 -i "$here/$clip" -ac 1 -ar 8000 -f s16le "$here/testdata/$clip.s16le"
done
# And once everything that it decodes.
cd "$here"
go test -tags ffmpeg .
