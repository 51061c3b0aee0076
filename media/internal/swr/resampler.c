#include "resampler.h"

#include <libavutil/channel_layout.h>
#include <libavutil/samplefmt.h>

int rsm_open(SwrContext **out, int in_rate, int in_channels, int out_rate, int out_channels)
{
	AVChannelLayout in_layout, out_layout;
	av_channel_layout_default(&in_layout, in_channels);
	av_channel_layout_default(&out_layout, out_channels);
	SwrContext *s = NULL;
	int ret = swr_alloc_set_opts2(&s, &out_layout, AV_SAMPLE_FMT_S16, out_rate, &in_layout, AV_SAMPLE_FMT_S16, in_rate, 0, NULL);
	if (ret < 0)
		return ret;
	// Average to mono, double to stereo: the library's own choice would change the level.
	static const double average[] = {0.5, 0.5}, twice[] = {1, 1};
	if (in_channels == 2 && out_channels == 1)
		ret = swr_set_matrix(s, average, 2);
	else if (in_channels == 1 && out_channels == 2)
		ret = swr_set_matrix(s, twice, 1);
	if (ret >= 0)
		ret = swr_init(s);
	if (ret < 0) {
		swr_free(&s);
		return ret;
	}
	*out = s;
	return 0;
}

int rsm_convert(SwrContext *s, const int16_t *in, int in_samples, int16_t *out, int out_max)
{
	const uint8_t *from[] = {(const uint8_t *)in};
	uint8_t *to[] = {(uint8_t *)out};
	return swr_convert(s, to, out_max, in ? from : NULL, in_samples);
}

void rsm_close(SwrContext *s) { swr_free(&s); }
