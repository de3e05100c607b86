// Frames of bytes: what turns them into floats, what a stream keeps of the last one, and the rows of a step.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "state.hpp"

namespace reconv {

// Equal bytes give equal floats, and those were compared with the same stored pixel in the last step: it was stored then, or
// it was within the tolerance, and it still is. So pixels with the bytes of the last frame need no look. This rests on what
// forgets the bytes: other weights, another table, a frame of floats, and every step that fails; a dense step takes all pixels.
void State::set_table(int input, std::span<const float> table, std::span<const int32_t> order) {
    const Map& m = plan_->checked(plan_->inputs().at(input).map);
    if (m.channels > kMostByteChannels) throw std::invalid_argument("a frame of bytes has 1 to 4 channels");
    const auto channels = static_cast<size_t>(m.channels);
    if (table.size() != channels * 256) throw std::invalid_argument("the table is (channels, 256)");
    if (order.size() != channels) throw std::invalid_argument("one source channel per channel is needed");
    // a pixel that is not finite would always be stale
    if (!std::all_of(table.begin(), table.end(), [](float v) { return std::isfinite(v); }))
        throw std::invalid_argument("the table's values must be finite");
    if (!std::all_of(order.begin(), order.end(), [&](int c) { return c >= 0 && c < m.channels; }))
        throw std::invalid_argument("the order names channels that a frame does not have");
    byte_inputs_.resize(plan_->inputs().size());
    ByteInput& in = byte_inputs_[static_cast<size_t>(input)];
    std::vector<float> values(table.begin(), table.end());
    if (!dense_only_ && in.kept.empty()) {
        in.kept.resize(static_cast<size_t>(m.height) * m.width * channels);
        bytes_ += static_cast<int64_t>(in.kept.size());
    }
    if (in.table.empty()) bytes_ += static_cast<int64_t>(values.size() * 4);
    in.table = std::move(values);
    std::copy(order.begin(), order.end(), in.order.begin());
    in.kept_now = false;
}

void State::check_frames(std::span<const ByteFrame> frames) const {
    if (frames.empty()) return;
    if (frames.size() != plan_->inputs().size()) throw std::invalid_argument("one frame per input is needed, or none");
    for (size_t i = 0; i < frames.size(); i++)
        if (frames[i].data && (i >= byte_inputs_.size() || byte_inputs_[i].table.empty()))
            throw std::invalid_argument("input " + std::to_string(i) + " has no table for bytes");
}

// What is kept is compared with in this step; the rows of this step put the next in its place.
void State::turn_frames(std::span<const ByteFrame> frames) {
    frames_ = frames;
    for (size_t i = 0; i < byte_inputs_.size(); i++) {
        ByteInput& in = byte_inputs_[i];
        in.known = in.kept_now && !was_dense_;
        in.kept_now = !in.kept.empty() && has_frame(static_cast<int>(i));
    }
}

void State::forget_frames() {
    for (ByteInput& in : byte_inputs_) in.kept_now = false;
}

void State::load_bytes(int input, int first, int last, float* scratch) {
    const int map = plan_->inputs()[input].map;
    const Map& m = memory_.map(map);
    const ByteFrame& frame = frames_[static_cast<size_t>(input)];
    ByteInput& in = byte_inputs_[static_cast<size_t>(input)];
    for (int y = first; y < last; y++) {
        uint8_t* kept = in.kept.empty() ? nullptr : in.kept.data() + static_cast<ptrdiff_t>(y) * m.width * m.channels;
        const ByteRow row{frame.data + y * frame.row, frame.pixel, frame.channel, kept, in.known, in.table.data(), in.order.data(),
                          memory_.pixel(map, y, 0), static_cast<ptrdiff_t>(m.pixel_stride), m.width, m.channels, scratch};
        plan_->kernels().byte_row(row, was_dense_ ? nullptr : weights_of(map), tolerance_ * tolerance_, was_dense_,
                                  dense_only_ ? nullptr : stale_[m.stale].row(y));
    }
}

}  // namespace reconv
