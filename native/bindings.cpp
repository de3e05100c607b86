// The door to Python: plans, states, threads.
#include <nanobind/stl/array.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>

#include "bindings.hpp"
#include "kernels/dispatch.hpp"
#include "state.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace reconv::python {
namespace {

std::vector<float> to_vector(const Floats& a) { return {a.data(), a.data() + a.size()}; }
std::vector<int> to_ints(const Ints& a) { return {a.data(), a.data() + a.size()}; }

ParsedActivation parse(nb::tuple t) {
    static const std::map<std::string, Activation> kinds{
        {"none", Activation::none}, {"clip", Activation::clip}, {"silu", Activation::silu}, {"leaky", Activation::leaky},
        {"prelu", Activation::prelu}, {"sigmoid", Activation::sigmoid}, {"tanh", Activation::tanh},
        {"hardsigmoid", Activation::hardsigmoid}, {"hardswish", Activation::hardswish}, {"gelu", Activation::gelu},
        {"gelu_tanh", Activation::gelu_tanh}, {"erf", Activation::erf}, {"elu", Activation::elu},
        {"softplus", Activation::softplus}, {"mish", Activation::mish}, {"exp", Activation::exp}, {"log", Activation::log},
        {"sqrt", Activation::sqrt}};
    if (t.size() == 0) throw std::invalid_argument("an activation is a tuple that starts with its kind");
    const auto name = nb::cast<std::string>(t[0]);
    ParsedActivation out;
    if (name == "relu") {
        out.spec = {Activation::clip, 0.f, std::numeric_limits<float>::infinity(), nullptr};
        return out;
    }
    const auto found = kinds.find(name);
    if (found == kinds.end()) throw std::invalid_argument("unknown activation '" + name + "'");
    out.spec.kind = found->second;
    if (out.spec.kind == Activation::prelu) {
        out.slopes = to_vector(nb::cast<Floats>(t[1]));
    } else {
        if (t.size() > 1) out.spec.a = nb::cast<float>(t[1]);
        if (t.size() > 2) out.spec.b = nb::cast<float>(t[2]);
    }
    return out;
}

}  // namespace

ParsedActivation parse_for(nb::tuple t, int channels) {
    auto parsed = parse(std::move(t));
    if (parsed.spec.kind == Activation::prelu && static_cast<int>(parsed.slopes.size()) != channels)
        throw std::invalid_argument("prelu needs one slope per channel");
    return parsed;
}

Binary binary_kind(const std::string& name) {
    static const std::map<std::string, Binary> kinds{{"add", Binary::add}, {"sub", Binary::sub}, {"mul", Binary::mul},
                                                     {"div", Binary::div}, {"min", Binary::min}, {"max", Binary::max},
                                                     {"pow", Binary::pow}};
    const auto found = kinds.find(name);
    if (found == kinds.end()) throw std::invalid_argument("unknown arithmetic '" + name + "'");
    return found->second;
}

PoolParams pool_params(Pair kernel, Pair strides, Pair pads, Pair dilations) {
    PoolParams p;
    p.window = {kernel.first, kernel.second, strides.first, strides.second, pads.first, pads.second, dilations.first, dilations.second};
    return p;
}

void set_window(ConvParams& p, Pair strides, Pair pads, Pair dilations, int groups) {
    p.stride_y = strides.first, p.stride_x = strides.second, p.pad_y = pads.first, p.pad_x = pads.second;
    p.dilation_y = dilations.first, p.dilation_x = dilations.second, p.groups = groups;
}

namespace {

template <class T>
nb::ndarray<nb::numpy, T> make_array(std::vector<size_t> shape, T*& data) {
    size_t count = 1;
    for (size_t n : shape) count *= n;
    data = new T[std::max<size_t>(count, 1)];
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return nb::ndarray<nb::numpy, T>(data, shape.size(), shape.data(), owner);
}

nb::ndarray<nb::numpy, bool> to_array(const Bits& bits) {
    bool* data;
    auto array = make_array<bool>({static_cast<size_t>(bits.height), static_cast<size_t>(bits.width)}, data);
    for (int y = 0; y < bits.height; y++)
        for (int x = 0; x < bits.width; x++) *data++ = bits.test(y, x);
    return array;
}

int64_t count_of(const Plan& plan, const Border& border) {
    const Map& m = plan.maps()[border.map];
    return static_cast<int64_t>(m.height) * m.width * m.channels;
}

void require_stream(const State& s, const char* what) {
    if (s.dense_only()) throw std::invalid_argument(std::string(what) + " needs a stream's state, this one is dense-only");
}

int conv(Plan& plan, int x, int out, const Floats& weight, std::optional<Floats> bias, Pair strides, Pair pads, Pair dilations,
         int groups, nb::tuple activation, int residual, nb::tuple after, bool cut, int64_t macs) {
    if (weight.ndim() != 4) throw std::invalid_argument("conv: the weight is (out channels, in channels / groups, kh, kw)");
    ConvParams p;
    set_window(p, strides, pads, dilations, groups);
    p.residual = residual;
    const int channels = static_cast<int>(weight.shape(0));
    auto first = parse_for(std::move(activation), channels), second = parse_for(std::move(after), channels);
    p.activation = first.spec, p.slopes = std::move(first.slopes);
    p.after = second.spec, p.after_slopes = std::move(second.slopes);
    const std::array<int, 4> shape{channels, static_cast<int>(weight.shape(1)), static_cast<int>(weight.shape(2)),
                                   static_cast<int>(weight.shape(3))};
    const std::span<const float> values(weight.data(), weight.size());
    const std::span<const float> offsets = bias ? std::span<const float>(bias->data(), bias->size()) : std::span<const float>();
    return plan.conv(x, out, values, shape, offsets, p, cut, macs);
}

// Per stretch of a dense-only run: the plan's ops in it, its bands, and the storages that live: the maps, the bytes, the
// rows kept at a time (0: all).
nb::list memory_of(const Plan& plan) {
    const MemoryPlan& memory = *plan.memory();
    nb::list found;
    for (int i = 0; i < static_cast<int>(memory.stretches.size()); i++) {
        const Stretch& stretch = memory.stretches[i];
        std::vector<int> ops;
        for (int j = stretch.first; j < stretch.last; j++) {
            const Job& job = memory.work.jobs[j];
            if (job.kind != Job::Kind::run || job.index < 0) continue;
            if (job.fused) ops.push_back(plan.front_of(job.index, true));
            ops.push_back(job.index);
        }
        nb::list live;
        for (size_t s = 0; s < memory.places.size(); s++) {
            const Place& place = memory.places[s];
            if (place.first > i || place.last < i) continue;
            std::vector<int> maps;
            for (const auto& use : memory.storages[s].uses)
                if (use.read < 0 && use.map < static_cast<int>(plan.maps().size())) maps.push_back(use.map);
            live.append(nb::make_tuple(maps, place.floats * 4, place.whole ? 0 : place.rows));
        }
        found.append(nb::make_tuple(ops, stretch.bands, live));
    }
    return found;
}

// Per fork its branches, each the plan's ops that it runs.
std::vector<std::vector<std::vector<int>>> forks_of_plan(const Plan& plan, int threads) {
    std::vector<std::vector<std::vector<int>>> found;
    for (const Fork& fork : plan.forks(threads)) {
        auto& branches = found.emplace_back();
        for (const auto& jobs : fork.branches) {
            auto& ops = branches.emplace_back();
            for (int j : jobs)
                if (const int op = plan.memory()->work.jobs[j].op_index(); op >= 0) ops.push_back(op);
        }
    }
    return found;
}

using OrderTuple = std::tuple<std::string, int, int>;

std::optional<OrderTuple> order_of(const Plan& plan, int op) {
    const Order* order = plan.order(op);
    if (!order) return {};
    return OrderTuple{order->channels ? "channels" : "pixels", order->blocks, order->part};
}

void set_order(Plan& plan, int op, const std::string& outside, int blocks, int part) {
    if (outside != "pixels" && outside != "channels") throw std::invalid_argument("unknown order '" + outside + "'");
    plan.set_order(op, {outside == "channels", blocks, part});
}

void bind_plan(nb::module_& m) {
    nb::class_<WeightStore>(m, "WeightStore").def(nb::init<>()).def_prop_ro("bytes", &WeightStore::bytes);
    nb::class_<Plan> plan(m, "Plan");
    plan.def(nb::init<std::string_view, bool, std::shared_ptr<WeightStore>>(), "isa"_a = "", "fuse"_a = true, "weights"_a = nb::none())
        .def("map", &Plan::map, "height"_a, "width"_a, "channels"_a)
        .def("channels_of", &Plan::channels_of, "parent"_a, "first"_a, "count"_a)
        .def("part_of", &Plan::part_of, "parent"_a, "first"_a, "count"_a)
        .def("phase_of", [](Plan& p, int parent, Pair strides, Pair phase) {
            return p.phase_of(parent, strides.first, strides.second, phase.first, phase.second);
        }, "parent"_a, "strides"_a, "phase"_a)
        .def("pixels_of", &Plan::pixels_of, "parent"_a, "first"_a, "height"_a, "width"_a)
        .def("join", &Plan::join, "parent"_a, "parts"_a)
        .def("input", &Plan::input, "x"_a, "strides"_a)
        .def("output", &Plan::output, "x"_a, "strides"_a)
        .def("conv", &conv, "x"_a, "out"_a, "weight"_a, "bias"_a.none(), "strides"_a, "pads"_a, "dilations"_a, "groups"_a,
             "activation"_a, "residual"_a = -1, "activation_after"_a = nb::make_tuple("none"), "cut"_a = true, "macs"_a = 0)
        .def("max_pool", [](Plan& p, int x, int out, Pair kernel, Pair strides, Pair pads, Pair dilations,
                            bool cut) {
            return p.max_pool(x, out, pool_params(kernel, strides, pads, dilations), cut);
        }, "x"_a, "out"_a, "kernel"_a, "strides"_a, "pads"_a, "dilations"_a, "cut"_a = true)
        .def("average_pool", [](Plan& p, int x, int out, Pair kernel, Pair strides, Pair pads, Pair ends, Pair dilations,
                                bool count_include_pad, bool cut) {
            PoolParams params = pool_params(kernel, strides, pads, dilations);
            params.end_y = ends.first, params.end_x = ends.second, params.count_include_pad = count_include_pad;
            return p.average_pool(x, out, params, cut);
        }, "x"_a, "out"_a, "kernel"_a, "strides"_a, "pads"_a, "pads_end"_a, "dilations"_a, "count_include_pad"_a,
             "cut"_a = true)
        .def("global_pool", [](Plan& p, int x, int out, const std::string& kind, bool cut) {
            if (kind != "avg" && kind != "max" && kind != "sum") throw std::invalid_argument("unknown pooling '" + kind + "'");
            return p.global_pool(x, out, kind == "avg" ? Global::average : kind == "max" ? Global::maximum : Global::sum, cut);
        }, "x"_a, "out"_a, "kind"_a, "cut"_a = true)
        .def("unary", [](Plan& p, int x, int out, nb::tuple activation) {
            auto a = parse_for(std::move(activation), p.checked(out).channels);
            return p.unary(x, out, a.spec, std::move(a.slopes));
        }, "x"_a, "out"_a, "activation"_a)
        .def("affine", [](Plan& p, int x, int out, const Floats& scale, const Floats& shift, nb::tuple activation) {
            auto a = parse_for(std::move(activation), p.checked(out).channels);
            return p.affine(x, out, to_vector(scale), to_vector(shift), a.spec, std::move(a.slopes));
        }, "x"_a, "out"_a, "scale"_a, "shift"_a, "activation"_a)
        .def("binary", [](Plan& p, int a, int b, int out, const std::string& kind, nb::tuple activation) {
            auto act = parse_for(std::move(activation), p.checked(out).channels);
            return p.binary(a, b, out, binary_kind(kind), act.spec, std::move(act.slopes));
        }, "a"_a, "b"_a, "out"_a, "kind"_a, "activation"_a)
        .def("binary_constant", [](Plan& p, int x, int out, const std::string& kind, const Floats& constant, bool first,
                                   nb::tuple activation) {
            if (constant.ndim() != 3) throw std::invalid_argument("binary_constant: the constant is (H or 1, W or 1, C or 1)");
            auto a = parse_for(std::move(activation), p.checked(out).channels);
            Constant c{to_vector(constant), static_cast<int>(constant.shape(0)), static_cast<int>(constant.shape(1)),
                       static_cast<int>(constant.shape(2))};
            return p.binary_constant(x, out, binary_kind(kind), std::move(c), first, a.spec, std::move(a.slopes));
        }, "x"_a, "out"_a, "kind"_a, "constant"_a, "constant_first"_a, "activation"_a)
        .def("resize", [](Plan& p, int x, int out, const Ints& y0, const Ints& y1, const Floats& wy, const Ints& x0,
                          const Ints& x1, const Floats& wx) {
            return p.resize(x, out, {{to_ints(y0), to_ints(y1), to_ints(x0), to_ints(x1)}, to_vector(wy), to_vector(wx)});
        }, "x"_a, "out"_a, "y0"_a, "y1"_a, "wy"_a, "x0"_a, "x1"_a, "wx"_a)
        .def("gather", [](Plan& p, int x, int out, const Ints& index, float fill) {
            return p.gather(x, out, {index.data(), index.data() + index.size()}, fill);
        }, "x"_a, "out"_a, "index"_a, "fill"_a)
        .def("copy", &Plan::copy, "x"_a, "out"_a)
        .def("softmax", &Plan::softmax, "x"_a, "out"_a)
        .def("seal", &Plan::seal, "stores"_a = false)
        .def("limit_memory", &Plan::limit_memory, "bytes"_a, "threads"_a)
        .def_prop_ro("macs", nb::overload_cast<>(&Plan::macs, nb::const_))
        .def_prop_ro("state_bytes", [](const Plan& p) { return p.state_bytes(false); })
        .def_prop_ro("dense_bytes", [](const Plan& p) { return p.state_bytes(true); })
        .def("dense_peak_bytes", &Plan::dense_peak_bytes, "threads"_a)
        .def("dense_overhead_bytes", &Plan::dense_overhead_bytes, "threads"_a)
        .def("memory", &memory_of)
        .def_prop_ro("weight_bytes", &Plan::weight_bytes)
        .def("layer", &Plan::layer, "op"_a)
        .def("forks", &forks_of_plan, "threads"_a)
        .def("set_forks", &Plan::set_forks, "chosen"_a, "threads"_a)
        .def("chosen_forks", &Plan::chosen_forks, "threads"_a)
        .def("order", &order_of, "op"_a)
        .def("set_order", &set_order, "op"_a, "outside"_a, "blocks"_a, "part"_a)
        .def_prop_ro("isa", [](const Plan& p) { return std::string(p.kernels().name); })
        .def("size", [](const Plan& p, int x) {
            const Map& map = p.checked(x);
            return nb::make_tuple(map.height, map.width, map.depth());
        }, "x"_a)
        .def_prop_ro("cut_maps", [](const Plan& p) { return p.cut_maps(); })
        .def("stored", &Plan::stored, "x"_a)
        .def("input_strides", [](const Plan& p, int input) { return p.inputs().at(static_cast<size_t>(input)).strides; }, "input"_a)
        .def("map_shape", [](const Plan& p, int id) {
            const Map& map = p.checked(id);
            return std::make_tuple(map.height, map.width, map.depth());
        }, "x"_a)
        .def("op_macs", [](const Plan& p) {
            std::vector<int64_t> macs;
            for (int i = 0; i < static_cast<int>(p.ops().size()); i++) macs.push_back(p.macs(i));
            return macs;
        });
    bind_codes(plan);
}

template <class T>
nb::ndarray<nb::numpy, T> values_of(const State& s, int x) {
    const Map& map = s.plan().checked(x);
    const size_t depth = static_cast<size_t>(map.depth());
    T* data;
    auto array = make_array<T>({static_cast<size_t>(map.height), static_cast<size_t>(map.width), depth}, data);
    for (int y = 0; y < map.height; y++)
        for (int c = 0; c < map.width; c++, data += depth) std::copy_n(reinterpret_cast<const T*>(s.pixel(x, y, c)), depth, data);
    return array;
}

std::vector<ByteFrame> frames_of(const Plan& plan, const std::vector<std::optional<Picture>>& given) {
    if (!given.empty() && given.size() != plan.inputs().size()) throw std::invalid_argument("one frame per input is needed, or none");
    std::vector<ByteFrame> frames(given.size());
    for (size_t i = 0; i < given.size(); i++) {
        if (!given[i]) continue;
        const Picture& picture = *given[i];
        const Map& m = plan.maps()[plan.inputs()[i].map];
        if (static_cast<int64_t>(picture.shape(0)) != m.height || static_cast<int64_t>(picture.shape(1)) != m.width ||
            static_cast<int64_t>(picture.shape(2)) != m.channels)
            throw std::invalid_argument("frame " + std::to_string(i) + " is not " + size_of(m));
        frames[i] = {picture.data(), static_cast<ptrdiff_t>(picture.stride(0)), static_cast<ptrdiff_t>(picture.stride(1)),
                     static_cast<ptrdiff_t>(picture.stride(2))};
    }
    return frames;
}

void bind_state(nb::module_& m) {
    nb::class_<Threads>(m, "Threads").def(nb::init<int>(), "count"_a).def_prop_ro("count", &Threads::count);
    nb::class_<State>(m, "State")
        .def(nb::init<std::shared_ptr<const Plan>, std::shared_ptr<Threads>, bool, float>(), "plan"_a, "threads"_a,
             "dense_only"_a, "tolerance"_a)
        .def_prop_ro("bytes", &State::bytes)
        .def_prop_rw("tolerance", &State::tolerance, &State::set_tolerance)
        .def("set_table", [](State& s, int input, const Floats& table, const Ints& order) {
            if (input < 0 || input >= static_cast<int>(s.plan().inputs().size())) throw std::invalid_argument("no such input");
            s.set_table(input, {table.data(), table.size()}, {order.data(), order.size()});
        }, "input"_a, "table"_a, "order"_a)
        .def("step", [](State& s, const std::vector<std::optional<Floats>>& inputs,
                        const std::vector<std::optional<nb::ndarray<float, nb::c_contig, nb::device::cpu>>>& outputs,
                        const std::vector<std::optional<Picture>>& frames, const std::vector<int>& slots) {
            const Plan& plan = s.plan();
            if (inputs.size() != plan.inputs().size()) throw std::invalid_argument("one array per input is needed");
            const std::vector<ByteFrame> pictures = frames_of(plan, frames);
            std::vector<const float*> sources;
            for (size_t i = 0; i < inputs.size(); i++) {
                const bool picture = !pictures.empty() && pictures[i].data;
                if (!picture && (!inputs[i] || static_cast<int64_t>(inputs[i]->size()) != count_of(plan, plan.inputs()[i])))
                    throw std::invalid_argument("input " + std::to_string(i) + " has another number of values than its map");
                sources.push_back(picture ? nullptr : inputs[i]->data());
            }
            if (!outputs.empty() && outputs.size() != plan.outputs().size()) throw std::invalid_argument("one array per output is needed");
            std::vector<float*> targets;
            for (size_t i = 0; i < outputs.size(); i++) {
                if (outputs[i] && static_cast<int64_t>(outputs[i]->size()) != count_of(plan, plan.outputs()[i]))
                    throw std::invalid_argument("the array has another number of values than the output");
                targets.push_back(outputs[i] ? outputs[i]->data() : nullptr);
            }
            nb::gil_scoped_release release;
            s.step(sources, targets, pictures, slots);
        }, "inputs"_a, "outputs"_a = nb::list(), "frames"_a = nb::list(), "slots"_a = nb::list())
        .def("renew", &State::renew, "output"_a, "slot"_a)
        .def("read", [](const State& s, int output, nb::ndarray<float, nb::c_contig, nb::device::cpu> array) {
            if (output < 0 || output >= static_cast<int>(s.plan().outputs().size())) throw std::invalid_argument("no such output");
            if (static_cast<int64_t>(array.size()) != count_of(s.plan(), s.plan().outputs()[output]))
                throw std::invalid_argument("the array has another number of values than the output");
            float* data = array.data();
            nb::gil_scoped_release release;
            s.read(output, data);
        }, "output"_a, "array"_a)
        .def("reset", &State::reset)
        .def_prop_ro("recomputed_macs", &State::recomputed_macs)
        .def_prop_ro("was_dense", &State::was_dense)
        .def("changed", &State::changed, "output"_a)
        .def("stale", [](const State& s, int x) { require_stream(s, "stale"); return to_array(s.stale(x)); }, "x"_a)
        .def("todo", [](const State& s, int op) {
            require_stream(s, "todo");
            if (op < 0 || op >= static_cast<int>(s.plan().ops().size())) throw std::invalid_argument("no such op");
            return to_array(s.todo(op));
        }, "op"_a)
        .def("array", [](const State& s, int x) {
            require_stream(s, "array");
            const Map& map = s.plan().checked(x);
            if (!s.plan().stored(x)) throw std::invalid_argument("the map is not stored: the op that reads it has absorbed its producer");
            return map.codes ? nb::cast(values_of<uint8_t>(s, x)) : nb::cast(values_of<float>(s, x));
        }, "x"_a)
        .def("deviation", [](const State& s, int x) {
            require_stream(s, "deviation");
            const auto values = s.deviation(x);
            float* data;
            auto array = make_array<float>({values.size()}, data);
            std::copy(values.begin(), values.end(), data);
            return array;
        }, "x"_a)
        .def("set_weights", [](State& s, int x, const Floats& weights) {
            require_stream(s, "set_weights");
            s.set_weights(x, {weights.data(), weights.size()});
        }, "x"_a, "weights"_a)
        .def("profile", &State::profile, "on"_a)
        .def("op_seconds", &State::op_seconds);
}

}  // namespace
}  // namespace reconv::python

NB_MODULE(_core, m) {
    using namespace reconv;
    nb::set_leak_warnings(false);  // a script that ends with a stream in a global variable is not a defect
    m.doc() = "The native engine: plans, states, steps.";
    m.def("isas", &usable_isas);
    m.def("default_isa", [] { return std::string(kernels_of("").name); });
    m.def("default_threads", &default_threads);
    python::bind_plan(m);
    python::bind_state(m);
}
