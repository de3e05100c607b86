#include "plan.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "kernels/dispatch.hpp"
#include "branches.hpp"

namespace reconv {
namespace {

constexpr int64_t kAlign = 16;     // floats: roots start on cache lines
constexpr int64_t kOverread = 16;  // floats: the last vector of a pixel's channels may reach past them

int64_t aligned(int64_t floats) { return (floats + kAlign - 1) / kAlign * kAlign; }

// A map, or a view of `of`, of so many values per pixel.
Map sized(int height, int width, int depth, View view, bool codes) {
    Map m{};
    m.height = height, m.width = width, m.view = view;
    m.channels = codes ? words_of(depth) : depth;
    m.codes = codes ? depth : 0;
    return m;
}

}  // namespace

std::string size_of(const Map& m) {
    std::string text("(");
    text.append(std::to_string(m.height)).append(", ").append(std::to_string(m.width)).append(", ");
    return text.append(std::to_string(m.depth())).append(m.codes ? " codes)" : ")");
}

Plan::Plan(std::string_view isa, bool fuse, std::shared_ptr<WeightStore> store)
    : kernels_(&kernels_of(isa)), store_(store ? std::move(store) : std::make_shared<WeightStore>()), fuse_(fuse) {}

Plan::~Plan() = default;

void Plan::require(bool ok, const std::string& what) const {
    if (!ok) throw std::invalid_argument(what);
}

const Map& Plan::checked(int id) const {
    require(id >= 0 && id < static_cast<int>(maps_.size()), std::string("no map ").append(std::to_string(id)));
    return maps_[id];
}

int Plan::map(int height, int width, int channels) { return new_map(height, width, channels, false, 0); }

int Plan::map8(int height, int width, int channels, int zero) {
    require(zero >= 0 && zero <= 255, "a zero point is a code, 0 to 255");
    return new_map(height, width, channels, true, static_cast<uint32_t>(zero) * 0x01010101u);
}

int Plan::new_map(int height, int width, int channels, bool codes, uint32_t fill) {
    require(!sealed_, "the plan is sealed");
    require(height > 0 && width > 0 && channels > 0, "a map needs positive sizes");
    require(static_cast<int64_t>(height) * width * channels < (int64_t{1} << 31), "a map may have at most 2^31 values");
    Map m = sized(height, width, channels, View::whole, codes);
    m.root = static_cast<int>(roots_.size());
    m.stale = stale_sets_++;
    Root root{};
    root.height = height, root.width = width, root.channels = m.channels, root.fill = fill;
    roots_.push_back(root);
    maps_.push_back(m);
    return static_cast<int>(maps_.size()) - 1;
}

int Plan::view(Map m, int parent) {
    require(!sealed_, "the plan is sealed");
    m.parent = parent;
    m.root = maps_[parent].root;
    m.stale = m.view == View::channels ? maps_[parent].stale : stale_sets_++;
    maps_.push_back(m);
    return static_cast<int>(maps_.size()) - 1;
}

Map Plan::channels_at(const Map& p, int first, int count, View kind) const {
    require(first >= 0 && count > 0 && first + count <= p.depth(), "channels out of range of map " + size_of(p));
    require(p.codes == 0 || first % 4 == 0, "channels of a map of codes begin at a multiple of 4");
    Map m = sized(p.height, p.width, count, kind, p.codes > 0);
    m.first = p.codes ? first / 4 : first;
    return m;
}

int Plan::channels_of(int parent, int first, int count) {
    const Map& p = checked(parent);
    require(p.produced, "channels_of needs a map that has been produced");
    Map m = channels_at(p, first, count, View::channels);
    m.produced = true;
    return view(m, parent);
}

int Plan::part_of(int parent, int first, int count) {
    const Map& p = checked(parent);
    require(!p.produced, "part_of needs a map that is not yet produced");
    return view(channels_at(p, first, count, View::part), parent);
}

int Plan::phase_of(int parent, int stride_y, int stride_x, int phase_y, int phase_x) {
    const Map& p = checked(parent);
    require(!p.produced, "phase_of needs a map that is not yet produced");
    require(stride_y > 0 && stride_x > 0 && phase_y >= 0 && phase_x >= 0 && phase_y < p.height && phase_x < p.width,
            "phase out of range of map " + size_of(p));
    Map m = sized((p.height - phase_y + stride_y - 1) / stride_y, (p.width - phase_x + stride_x - 1) / stride_x, p.depth(),
                  View::phase, p.codes > 0);
    m.stride_y = stride_y, m.stride_x = stride_x, m.phase_y = phase_y, m.phase_x = phase_x;
    return view(m, parent);
}

int Plan::pixels_of(int parent, int first, int height, int width) {
    const Map& p = checked(parent);
    require(!p.produced, "pixels_of needs a map that is not yet produced");
    require(p.height == 1, "pixels_of needs a parent of height 1");
    require(first >= 0 && height > 0 && width > 0 && first + static_cast<int64_t>(height) * width <= p.width,
            "pixels out of range of map " + size_of(p));
    roots_[p.root].halo_allowed = false;
    Map m = sized(height, width, p.depth(), View::pixels, p.codes > 0);
    m.first = first;
    return view(m, parent);
}

int Plan::join(int parent, std::vector<int> parts) {
    const Map& p = checked(parent);
    require(!p.produced, "map is already produced");
    require(!parts.empty(), "join needs parts");
    for (int part : parts) {
        require(checked(part).parent == parent && maps_[part].view != View::channels, "join: not a part of the map");
        require(maps_[part].produced, "join: a part has not been produced");
    }
    auto op = make_join(parent, parts, maps_);
    return add(std::move(op), std::move(parts), parent, false);
}

int Plan::input(int map, std::array<int64_t, 3> strides) {
    require(!sealed_, "the plan is sealed");
    require(!checked(map).produced, "input: the map is already produced");
    require(maps_[map].codes == 0, "input: a frame brings floats");
    maps_[map].produced = true;
    inputs_.push_back({map, strides});
    cut_maps_.push_back(map);
    return static_cast<int>(inputs_.size()) - 1;
}

int Plan::output(int map, std::array<int64_t, 3> strides) {
    require(!sealed_, "the plan is sealed");
    require(checked(map).produced, "output: the map has not been produced");
    require(maps_[map].codes == 0, "output: codes are handed out as floats");
    outputs_.push_back({map, strides});
    return static_cast<int>(outputs_.size()) - 1;
}

int Plan::add(OpPtr op, std::vector<int> inputs, int out, bool cut, int64_t macs_per_pixel) {
    require(!sealed_, "the plan is sealed");
    const int id = static_cast<int>(ops_.size());
    for (int in : inputs)
        require(checked(in).produced, std::string("input map ").append(std::to_string(in)).append(" has not been produced"));
    require(!checked(out).produced, std::string("output map ").append(std::to_string(out)).append(" is already produced"));
    maps_[out].produced = true;
    op->out = out;
    op->inputs = std::move(inputs);
    op->cut = cut;
    op->macs_per_pixel = macs_per_pixel;
    if (cut) cut_maps_.push_back(out);
    ops_.push_back(std::move(op));
    return id;
}

// A depthwise convolution whose only reader is a pointwise one is done by that reader, pixel by pixel, and never written:
// in dense-only states always, unless threads are to share the pointwise one's channels; in streams where the pointwise
// part is so cheap that a cutoff between the two would cost more than the multiply-adds it can save. Where the window
// strides, a stale pixel is diluted among its neighbours and the cutoff stops two thirds of them (measured on a street
// camera), so there the two stay apart.
void Plan::absorb() {
    constexpr int64_t kCheapMacs = 1024;
    const int count = static_cast<int>(ops_.size());
    for (auto* list : {&stream_done_by_, &dense_done_by_}) {
        list->resize(count);
        for (int i = 0; i < count; i++) (*list)[i] = i;
    }
    stream_front_.assign(count, -1);
    dense_front_.assign(count, -1);
    if (!fuse_) return;
    std::vector<int> readers(maps_.size(), 0), producer(maps_.size(), -1), views(roots_.size(), 0);
    for (const Map& m : maps_) views[m.root]++;
    for (const Border& b : outputs_) readers[b.map]++;
    for (int i = 0; i < count; i++) {
        for (int in : ops_[i]->inputs) readers[in]++;
        producer[ops_[i]->out] = i;
    }
    for (int i = 0; i < count; i++) {
        Op& op = *ops_[i];
        if (op.inputs.empty()) continue;
        const int between = op.inputs[0], front = producer[between];
        if (front < 0 || readers[between] != 1 || views[maps_[between].root] != 1) continue;
        const bool in_streams = op.macs_per_pixel <= kCheapMacs && maps_[ops_[front]->inputs[0]].same_pixels(maps_[between]);
        if (!op.absorb(*ops_[front], in_streams, maps_)) continue;
        dense_done_by_[front] = i;
        dense_front_[i] = front;
        Root& root = roots_[maps_[between].root];
        root.in_dense = false;
        if (!in_streams) continue;
        stream_done_by_[front] = i;
        stream_front_[i] = front;
        root.in_streams = false;
        op.inputs[0] = ops_[front]->inputs[0];
        std::erase(cut_maps_, between);
    }
}

void Plan::lay_out_roots() {
    for (Root& r : roots_) {
        const int64_t c = r.channels;
        r.row_stride = (r.width + r.halo.side) * c;
        r.origin = aligned(r.halo.top * r.row_stride + r.halo.side * c);
        r.floats = aligned(r.origin + (r.height + r.halo.bottom) * r.row_stride + r.halo.side * c + kOverread);
        r.stream_offset = stream_floats_;
        if (r.in_streams) stream_floats_ += r.floats;
    }
    for (Map& m : maps_) m.lay_out(roots_[m.root], m.parent < 0 ? nullptr : &maps_[m.parent]);
}

void Plan::seal(bool stores) {
    require(!sealed_, "the plan is sealed");
    absorb();
    lay_out_roots();
    for (const auto& op : ops_) {
        op->prepare(*kernels_, maps_);
        row_words_ = std::max(row_words_, op->spread_words(maps_));
    }
    need_scratch();
    memory_ = std::make_shared<const MemoryPlan>(plan_memory(*this, stores, {}));
    sealed_ = true;
}

void Plan::limit_memory(int64_t bytes, int threads) {
    require(sealed_, "the plan is not sealed");
    limited_ = true;
    const int64_t floats = (bytes - dense_overhead_bytes(threads)) / 4;
    memory_ = std::make_shared<const MemoryPlan>(plan_memory(*this, memory_->work.stores, floats));
}

std::vector<Fork> Plan::forks(int threads) const {
    require(sealed_, "the plan is not sealed");
    require(threads > 0, "threads is not positive");
    return limited_ || threads == 1 ? std::vector<Fork>() : forks_of(*memory_, threads);
}

std::vector<int> Plan::chosen_forks(int threads) const {
    const std::vector<Fork> all = forks(threads);
    std::vector<int> chosen;
    for (int i = 0; i < static_cast<int>(all.size()); i++)
        if (std::any_of(memory_->forks.begin(), memory_->forks.end(), [&](const Fork& f) { return f.first == all[i].first; })) chosen.push_back(i);
    return chosen;
}

void Plan::set_forks(const std::vector<int>& chosen, int threads) {
    const std::vector<Fork> all = forks(threads);
    std::vector<Fork> forks;
    for (int i = 0; i < static_cast<int>(all.size()); i++)
        if (std::find(chosen.begin(), chosen.end(), i) != chosen.end()) forks.push_back(all[i]);
    require(forks.size() == chosen.size(), std::string("forks are numbered from 0 to ").append(std::to_string(all.size())).append(", exclusive, each once"));
    memory_ = std::make_shared<const MemoryPlan>(branched(*memory_, forks));
}

void Plan::need_scratch() {
    for (const bool dense_only : {false, true}) {
        int64_t& floats = scratch_floats_[dense_only];
        floats = 0;
        for (const auto& op : ops_) floats = std::max(floats, op->scratch_floats(*kernels_, maps_, dense_only));
        for (const Border& b : inputs_) {
            const Map& m = maps_[b.map];
            floats = std::max(floats, 2 * (static_cast<int64_t>(m.width) * m.channels + 64));
        }
    }
}

const Order* Plan::order(int op) const {
    require(sealed_, "the plan is not sealed");
    require(op >= 0 && op < static_cast<int>(ops_.size()), "no such op");
    return ops_[op]->order();
}

std::string Plan::layer(int op) const { return order(op) ? ops_[op]->layer(maps_) : std::string(); }

void Plan::set_order(int op, const Order& order) {
    require(this->order(op) != nullptr, "the op has no order to choose");
    require(order.blocks >= 1 && order.blocks <= Order::most_blocks,
            std::string("blocks is ").append(std::to_string(order.blocks)).append(", expected 1 to ").append(std::to_string(Order::most_blocks)));
    require(order.part >= 0, "part is negative");
    ops_[op]->set_order(order, *kernels_);
    for (const auto& [index, twin] : memory_->work.twins)
        if (index == op) twin->set_order(order, *kernels_);
    need_scratch();
}

}  // namespace reconv
