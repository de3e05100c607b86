// Steps of random plans: streams against dense runs, and every loop order against the first.
#include <array>
#include <stdexcept>
#include <thread>

#include "kernels/dispatch.hpp"
#include "testing.hpp"

namespace reconv::testing {
namespace {

// Two arrays for each output, one of which a step brings up to date.
class Slots {
public:
    void step(State& state, const float* source) {
        const Plan& plan = state.plan();
        arrays_.resize(plan.outputs().size());
        std::vector<float*> targets;
        std::vector<int> slots;
        for (size_t o = 0; o < arrays_.size(); o++) {
            const int slot = static_cast<int>((count_ + o) % 3 / 2);  // twice the one, once the other
            auto& array = arrays_[o][static_cast<size_t>(slot)];
            if (array.empty() || count_ % 4 == 3) {  // as somebody else left it
                array.assign(outputs_of(plan, o), 77.f);
                state.renew(static_cast<int>(o), slot);
            }
            targets.push_back(count_ % 5 == 4 && o == 0 ? nullptr : array.data());
            slots.push_back(slot);
        }
        if (count_ % 6 == 5) {  // all outputs whole, as where they are not shared; the slots' arrays stay as they are
            targets.clear();
            std::vector<std::vector<float>> whole;
            for (size_t o = 0; o < arrays_.size(); o++) targets.push_back(whole.emplace_back(outputs_of(plan, o), 77.f).data());
            state.step({&source, 1}, targets);
            for (size_t o = 0; o < arrays_.size(); o++) {
                std::vector<float> expected(outputs_of(plan, o));
                state.read(static_cast<int>(o), expected.data());
                check(same_bits(whole[o], expected), "an output stored whole");
            }
            count_++;
            return;
        }
        state.step({&source, 1}, targets, {}, slots);
        for (size_t o = 0; o < arrays_.size(); o++) {
            if (!targets[o] || !state.changed(static_cast<int>(o))) continue;
            std::vector<float> expected(outputs_of(plan, o));
            state.read(static_cast<int>(o), expected.data());
            check(same_bits(arrays_[o][static_cast<size_t>(slots[o])], expected), "an output brought up to date");
        }
        count_++;
    }

private:
    static size_t outputs_of(const Plan& plan, size_t output) {
        const Map& m = plan.checked(plan.outputs()[output].map);
        return static_cast<size_t>(m.height) * m.width * m.channels;
    }

    std::vector<std::array<std::vector<float>, 2>> arrays_;
    size_t count_ = 0;
};

void check_step(State& state, const std::vector<float>& frame, Slots& slots) {
    slots.step(state, frame.data());
    int64_t macs = 0;
    for (int op = 0; op < static_cast<int>(state.plan().ops().size()); op++) macs += state.todo(op).count() * state.plan().ops()[op]->macs_per_pixel;
    check(state.recomputed_macs() == macs && macs <= state.plan().macs(), "multiply-adds of a step");
    int64_t slot_words = 0;
    for (const Border& border : state.plan().outputs()) {
        const Map& m = state.plan().checked(border.map);
        slot_words += 2 * static_cast<int64_t>(m.height) * words_for(m.width);
    }
    check(state.bytes() == state.plan().state_bytes(false) + slot_words * 8, "bytes of a state");
}

}  // namespace

// Several streams of one plan at once, each on a thread of its own, some sharing a team: every map equals a dense run.
void test_plan(uint64_t seed, const std::string& isa) {
    Random random(seed);
    const Model model = make_model(random, isa);
    const Frames frames = make_frames(random, model.plan->checked(model.plan->inputs()[0].map), 6);
    const auto alone = std::make_shared<Threads>(1), shared = std::make_shared<Threads>(2);
    std::vector<std::vector<float>> expected, expected_outputs;
    for (const auto& frame : frames) {
        State fresh(model.plan, alone, false, 0.f);
        Slots slots;
        check_step(fresh, frame, slots);
        check(fresh.was_dense(), "the first step is dense");
        expected.push_back(values_of(fresh, model.maps));
        expected_outputs.push_back(outputs_of(fresh));
    }
    const auto stream = [&](std::shared_ptr<Threads> team, bool dense_only, float tolerance) {
        State state(model.plan, std::move(team), dense_only, tolerance);
        Slots slots;
        for (size_t i = 0; i < frames.size(); i++) {
            if (dense_only) {
                const float* source = frames[i].data();
                state.step({&source, 1});
            } else {
                check_step(state, frames[i], slots);
            }
            if (tolerance == 0.f || i == 0)
                check(same_bits(outputs_of(state), expected_outputs[i]), "outputs of plan " + std::to_string(seed) + " on " + isa);
            if (!dense_only && tolerance == 0.f)
                check(same_bits(values_of(state, model.maps), expected[i]), "maps of plan " + std::to_string(seed) + " on " + isa);
        }
    };
    std::vector<std::thread> callers;
    callers.emplace_back(stream, shared, false, 0.f);
    callers.emplace_back(stream, shared, true, 0.f);
    callers.emplace_back(stream, std::make_shared<Threads>(3), false, 0.f);
    callers.emplace_back(stream, shared, false, 0.1f);
    for (auto& caller : callers) caller.join();
}

void test_orders(uint64_t seed, const std::string& isa, bool codes) {
    Random random(seed);
    const Model model = make_heavy(random, isa, codes);
    Plan& plan = *model.plan;
    const Frames frames = make_frames(random, plan.checked(plan.inputs()[0].map), 5);
    const auto team = std::make_shared<Threads>(3);
    std::vector<std::vector<float>> expected;
    for (const Order& order : {Order{false, 1, 0}, Order{false, 64, 1}, Order{true, 1, 6144}, Order{true, 64, 500}, Order{true, 5, 0}}) {
        for (int op = 0; op < static_cast<int>(plan.ops().size()); op++)
            if (plan.order(op)) plan.set_order(op, order);
        for (const auto& threads : {std::make_shared<Threads>(1), team})
            for (const bool dense_only : {false, true}) {
                State state(model.plan, threads, dense_only, 0.f);
                for (size_t i = 0; i < frames.size(); i++) {
                    const float* source = frames[i].data();
                    state.step({&source, 1});
                    if (expected.size() <= i) expected.push_back(outputs_of(state));
                    check(same_bits(outputs_of(state), expected[i]), "order of plan " + std::to_string(seed) + " on " + isa);
                }
            }
    }
    for (const Order& wrong : {Order{false, 0, 0}, Order{true, 65, 0}, Order{true, 1, -1}}) {
        bool refused = false;
        try {
            plan.set_order(0, wrong);
        } catch (const std::invalid_argument&) {
            refused = true;
        }
        check(refused, "an order that cannot be is refused");
    }
}


}  // namespace reconv::testing
