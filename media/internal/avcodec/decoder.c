#include "decoder.h"
#include "buffers.h"

#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void be_quiet(void) { av_log_set_level(AV_LOG_QUIET); }

// get_format takes the first software format: a hardware one would need a device.
static enum AVPixelFormat get_format(AVCodecContext *ctx, const enum AVPixelFormat *formats)
{
	(void)ctx;
	for (; *formats != AV_PIX_FMT_NONE; formats++) {
		const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(*formats);
		if (desc && !(desc->flags & AV_PIX_FMT_FLAG_HWACCEL))
			return *formats;
	}
	return AV_PIX_FMT_NONE;
}

static int open_context(avc_decoder **out, const char *name, avc_counter *counter)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, be_quiet);

	const AVCodec *codec = avcodec_find_decoder_by_name(name);
	if (!codec)
		return AVERROR_DECODER_NOT_FOUND;
	avc_decoder *d = calloc(1, sizeof(*d));
	if (!d)
		return AVERROR(ENOMEM);
	d->decoders = counter;
	avc_count(counter, 1, sizeof(*d));
	d->ctx = avcodec_alloc_context3(codec);
	d->packet = av_packet_alloc();
	d->frame = av_frame_alloc();
	if (!d->ctx || !d->packet || !d->frame) {
		avc_close(d);
		return AVERROR(ENOMEM);
	}
	d->ctx->thread_count = 1;
	d->ctx->opaque = d;
	*out = d;
	return 0;
}

int avc_open_video(avc_decoder **out, const char *name, int64_t max_pixels, void *decoders, void *buffers)
{
	avc_decoder *d;
	int ret = open_context(&d, name, decoders);
	if (ret < 0)
		return ret;
	d->buffers = buffers;
	d->max_pixels = max_pixels;
	// Unaligned: else a left crop would be rounded to what SIMD likes. No picture waits: low delay.
	d->ctx->flags |= AV_CODEC_FLAG_LOW_DELAY | AV_CODEC_FLAG_UNALIGNED;
	d->ctx->max_pixels = avc_coded_pixels(max_pixels);
	d->ctx->get_buffer2 = avc_get_buffer;
	d->ctx->get_format = get_format;
	d->unpaint = strcmp(name, "hevc") == 0;
	if (strcmp(name, "libdav1d") == 0) {
		// Ignored where the wrapper is too old to know it; one thread holds nothing back.
		av_opt_set_int(d->ctx->priv_data, "max_frame_delay", 1, 0);
		// Of spatial layers dav1d would wait for the highest that was announced, whether it is sent or not; the last to come out is the highest
		// that is there.
		av_opt_set_int(d->ctx->priv_data, "alllayers", 1, 0);
		d->ctx->max_pixels = max_pixels; // dav1d allocates by itself, and looks at what is shown
	}
	ret = avcodec_open2(d->ctx, NULL, NULL);
	if (ret < 0) {
		avc_close(d);
		return ret;
	}
	*out = d;
	return 0;
}

int avc_open_audio(avc_decoder **out, const char *name, int rate, int channels, void *decoders)
{
	avc_decoder *d;
	int ret = open_context(&d, name, decoders);
	if (ret < 0)
		return ret;
	d->ctx->sample_rate = rate;
	av_channel_layout_default(&d->ctx->ch_layout, channels);
	ret = avcodec_open2(d->ctx, NULL, NULL);
	if (ret < 0) {
		avc_close(d);
		return ret;
	}
	*out = d;
	return 0;
}

void avc_close(avc_decoder *d)
{
	if (d->input)
		avc_count(d->decoders, 0, -(int64_t)d->input->size);
	av_buffer_unref(&d->input);
	av_frame_free(&d->frame);
	av_packet_free(&d->packet);
	avcodec_free_context(&d->ctx);
	avc_close_pool(d->pool);
	avc_count(d->decoders, -1, -(int64_t)sizeof(*d));
	free(d);
}

// fill_packet copies the unit once, into a buffer that is used again when the decoder has let go of it.
static int fill_packet(avc_decoder *d, const void *data, int size)
{
	size_t need = (size_t)size + AV_INPUT_BUFFER_PADDING_SIZE;
	if (!d->input || d->input->size < need || !av_buffer_is_writable(d->input)) {
		if (d->input)
			avc_count(d->decoders, 0, -(int64_t)d->input->size);
		av_buffer_unref(&d->input);
		d->input = av_buffer_alloc(need + need / 2);
		if (!d->input)
			return AVERROR(ENOMEM);
		avc_count(d->decoders, 0, d->input->size);
	}
	memcpy(d->input->data, data, size);
	memset(d->input->data + size, 0, AV_INPUT_BUFFER_PADDING_SIZE);
	d->packet->buf = av_buffer_ref(d->input);
	if (!d->packet->buf)
		return AVERROR(ENOMEM);
	d->packet->data = d->input->data;
	d->packet->size = size;
	return 0;
}

static int send(avc_decoder *d, const void *data, int size, int64_t tag)
{
	d->refused = AVC_REFUSED_NOT;
	int ret = fill_packet(d, data, size);
	if (ret < 0)
		return ret;
	d->packet->pts = tag;
	ret = avcodec_send_packet(d->ctx, d->packet);
	av_packet_unref(d->packet);
	return ret;
}

static int take(avc_decoder *d)
{
	avc_picture *p = &d->out[d->count];
	AVFrame *f = d->frame;
	memset(p, 0, sizeof(*p));
	p->layout = avc_layout(f->format);
	if (!p->layout || f->width <= 0 || f->height <= 0) {
		av_frame_unref(f);
		d->refused = AVC_REFUSED_FORMAT;
		return AVERROR_PATCHWELCOME;
	}
	p->frame = av_frame_alloc();
	if (!p->frame) {
		av_frame_unref(f);
		return AVERROR(ENOMEM);
	}
	av_frame_move_ref(p->frame, f);
	f = p->frame;
	for (int i = 0; i < 3; i++) {
		p->data[i] = f->data[i];
		p->stride[i] = f->linesize[i];
	}
	p->width = f->width;
	p->height = f->height;
	p->tag = f->pts;
	p->corrupt = f->decode_error_flags != 0 || (f->flags & AV_FRAME_FLAG_CORRUPT) != 0;
	if (d->unpaint && !avc_is_painted(f))
		p->corrupt = 1;
	p->matrix = f->colorspace == AVCOL_SPC_BT709                                              ? AVC_BT709
	            : f->colorspace == AVCOL_SPC_BT2020_NCL || f->colorspace == AVCOL_SPC_BT2020_CL ? AVC_BT2020
	                                                                                            : AVC_BT601;
	// VP8 has no range: what libavcodec takes for it is the clamping type (RFC 6386 section 9.2).
	p->full_range = d->ctx->codec_id != AV_CODEC_ID_VP8 && (f->color_range == AVCOL_RANGE_JPEG || avc_is_full(f->format));
	d->count++;
	return 0;
}

int avc_decode_video(avc_decoder *d, const void *data, int size, int64_t tag)
{
	int first = 0;
	d->count = 0;
	if (size > 0)
		first = send(d, data, size, tag);
	// The bound is for decoders that would fail again and again without taking anything in.
	for (int i = 0; i < 4 * AVC_MAX_OUT && d->count < AVC_MAX_OUT; i++) {
		int ret = avcodec_receive_frame(d->ctx, d->frame);
		if (ret == AVERROR(EAGAIN) || ret == AVERROR_EOF)
			break;
		if (ret >= 0)
			ret = take(d);
		if (ret < 0 && first == 0)
			first = ret;
	}
	if (first == AVERROR(ERANGE) && d->ctx->codec_id == AV_CODEC_ID_AV1) // dav1d looks at the size before it allocates
		d->refused = AVC_REFUSED_SIZE;
	return first;
}

int avc_decode_audio(avc_decoder *d, const void *data, int size, int16_t *out, int max)
{
	int ret = send(d, data, size, 0);
	if (ret < 0)
		return ret;
	ret = avcodec_receive_frame(d->ctx, d->frame);
	if (ret == AVERROR(EAGAIN))
		return 0;
	if (ret < 0)
		return ret;
	int channels = d->frame->ch_layout.nb_channels;
	ret = d->frame->nb_samples;
	if (d->frame->format != AV_SAMPLE_FMT_S16 || channels != d->ctx->ch_layout.nb_channels || ret > max)
		ret = AVERROR_PATCHWELCOME;
	else
		memcpy(out, d->frame->data[0], (size_t)ret * channels * sizeof(int16_t));
	av_frame_unref(d->frame);
	return ret;
}

void avc_free_frame(AVFrame *frame) { av_frame_free(&frame); }
