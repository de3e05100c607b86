// A plan: the compiled form of a model. Ops over maps, fixed sizes, no data of frames.
#pragma once

#include <array>
#include <string_view>

#include "ops/op8.hpp"
#include "weights.hpp"

namespace reconv {

struct Fork;
struct MemoryPlan;

struct Border {  // between a map and a user's array, strides in elements for y, x and channel
    int map;
    std::array<int64_t, 3> strides;
};

class Plan {
public:
    // `store`: where weights are looked up, so that plans of one model keep equal ones once; null: a store of its own.
    explicit Plan(std::string_view isa, bool fuse = true, std::shared_ptr<WeightStore> store = nullptr);
    ~Plan();
    Plan(const Plan&) = delete;
    Plan& operator=(const Plan&) = delete;

    // Maps and views; see Map. All throw std::invalid_argument when the arguments contradict one another.
    int map(int height, int width, int channels);
    // A map of codes. `channels` counts codes; its views begin at multiples of 4 of them, and share its zero point.
    int map8(int height, int width, int channels, int zero);
    int channels_of(int parent, int first, int count);
    int part_of(int parent, int first, int count);
    int phase_of(int parent, int stride_y, int stride_x, int phase_y, int phase_x);
    int pixels_of(int parent, int first, int height, int width);
    int join(int parent, std::vector<int> parts);

    int input(int map, std::array<int64_t, 3> strides);
    int output(int map, std::array<int64_t, 3> strides);

    int conv(int x, int out, std::span<const float> weight, std::array<int, 4> weight_shape, std::span<const float> bias,
             const ConvParams& params, bool cut, int64_t macs = 0);
    int max_pool(int x, int out, const PoolParams& params, bool cut);
    int average_pool(int x, int out, const PoolParams& params, bool cut);
    int global_pool(int x, int out, Global kind, bool cut);
    int unary(int x, int out, const ActivationSpec& spec, std::vector<float> slopes);
    int affine(int x, int out, std::vector<float> scale, std::vector<float> shift, const ActivationSpec& spec,
               std::vector<float> slopes);
    int binary(int a, int b, int out, Binary kind, const ActivationSpec& spec, std::vector<float> slopes);
    int binary_constant(int x, int out, Binary kind, Constant constant, bool constant_first, const ActivationSpec& spec,
                        std::vector<float> slopes);
    int softmax(int x, int out);
    int resize(int x, int out, ResizeTable table);
    int copy(int x, int out);
    int gather(int x, int out, std::vector<int32_t> index, float fill);

    // On maps of codes; max_pool, resize (nearest), copy and gather take them too, and floats and codes do not mix but here.
    int conv8(int x, int out, const Weights8& weights, const Conv8Params& params, bool cut, int64_t macs = 0);
    int quantize(int x, int out, const Coding& to);
    int dequantize(int x, int out, const Coding& from);
    int requantize(int x, int out, const Coding& from, const Coding& to);
    int table8(int x, int out, std::vector<uint8_t> table);
    // codings: of a, b and the output
    int binary8(int a, int b, int out, Binary kind, const std::array<Coding, 3>& codings, const ActivationSpec& spec, std::vector<float> slopes);
    int average_pool8(int x, int out, const PoolParams& params, const Coding& from, const Coding& to, bool cut);
    int global_pool8(int x, int out, const Coding& from, const Coding& to, bool cut);  // the average

    // stores: a dense-only step writes the outputs to the user's arrays as they come; they cannot be read afterwards.
    void seal(bool stores = false);
    // What a dense-only run of so many threads may take in all (dense_peak_bytes), for the states that are made from now on.
    // It is met where it can be; without a limit the run takes as little as costs no time.
    void limit_memory(int64_t bytes, int threads);
    // Where branches of a dense-only run do not depend on one another. Those that are chosen run at once, each on a thread, in
    // the states that are made from now on; a limit of the memory undoes that.
    std::vector<Fork> forks(int threads) const;
    void set_forks(const std::vector<int>& chosen, int threads);
    std::vector<int> chosen_forks(int threads) const;

    const Kernels& kernels() const { return *kernels_; }
    const std::vector<Map>& maps() const { return maps_; }
    const std::vector<Root>& roots() const { return roots_; }
    const std::vector<OpPtr>& ops() const { return ops_; }
    const std::vector<Border>& inputs() const { return inputs_; }
    const std::vector<Border>& outputs() const { return outputs_; }
    const std::vector<int>& cut_maps() const { return cut_maps_; }
    bool sealed() const { return sealed_; }

    int64_t macs() const;
    int64_t macs(int op) const;
    int64_t weight_bytes() const;  // weights that several ops share count once
    // How a convolution goes through its work, null for other ops. To be set before a state of the plan steps.
    const Order* order(int op) const;
    std::string layer(int op) const;  // the sizes that decide which order is the quickest
    void set_order(int op, const Order& order);
    int64_t memory_floats(bool dense_only) const;
    const std::shared_ptr<const MemoryPlan>& memory() const { return memory_; }  // of dense-only runs
    // bytes that a dense-only run of so many threads takes in all: maps, scratch and the arrays of the outputs
    int64_t dense_peak_bytes(int threads) const;
    int64_t dense_overhead_bytes(int threads) const;  // of these, what are no maps
    int64_t scratch_floats(bool dense_only) const { return scratch_floats_[dense_only]; }  // per thread
    // bytes of a state: maps, stale sets and cutoff weights; scratch belongs to the threads
    int64_t state_bytes(bool dense_only) const;
    int stale_sets() const { return stale_sets_; }
    int64_t stale_words() const;                                // of all stale sets together
    int64_t most_runs() const;                                  // of one list
    int band_rows(int width) const;                             // rows of a map that are listed at a time
    int row_words() const { return row_words_; }                // scratch for spread
    int64_t most_inputs() const;                                // of one op
    int64_t weight_floats() const;                              // cutoff weights of all cut maps
    // weights of the cutoff of a map's pixel, with the zeros that kernels read behind them
    int padded(const Map& m) const {
        const int whole = m.codes ? 16 : kernels_->width;
        return (m.depth() + whole - 1) / whole * whole;
    }

    const Map& checked(int id) const;
    // the op that does this one's work (itself, where it is not absorbed)
    int done_by(int op, bool dense_only) const { return dense_only ? dense_done_by_[op] : stream_done_by_[op]; }
    // the op that this one has absorbed, or -1
    int front_of(int op, bool dense_only) const { return dense_only ? dense_front_[op] : stream_front_[op]; }
    bool stored(int map) const { return roots_[checked(map).root].in_streams; }

private:
    int add(OpPtr op, std::vector<int> inputs, int out, bool cut, int64_t macs_per_pixel = 0);
    int new_map(int height, int width, int channels, bool codes, uint32_t fill);
    int view(Map map, int parent);
    Map channels_at(const Map& parent, int first, int count, View kind) const;
    void require(bool ok, const std::string& what) const;
    const Map& of_codes(int id, const char* what) const;
    const Map& of_floats(int id, const char* what) const;
    void check_coding(const Coding& coding, const char* what) const;
    void check_window(const std::array<int, 4>& shape, const ConvParams& params, const Map& m, const Map& o, const std::string& what) const;
    void need_halo(int map, const Window& window, int out);
    void absorb();
    void lay_out_roots();
    void need_scratch();

    const Kernels* kernels_;
    std::vector<Map> maps_;
    std::vector<Root> roots_;
    std::vector<OpPtr> ops_;
    std::vector<Border> inputs_, outputs_;
    std::vector<int> cut_maps_;
    int64_t stream_floats_ = 0;
    std::array<int64_t, 2> scratch_floats_{};  // of streams; of dense-only steps
    std::shared_ptr<const MemoryPlan> memory_;
    int stale_sets_ = 0, row_words_ = 0;
    std::vector<int> stream_done_by_, dense_done_by_, stream_front_, dense_front_;
    std::shared_ptr<WeightStore> store_;
    bool fuse_, sealed_ = false, limited_ = false;
};

}  // namespace reconv
