// Memory plans of random plans: their results, their checker, and branches at once.
#include <thread>

#include "memory_check.hpp"
#include "testing.hpp"

namespace reconv::testing {
namespace {

// A plan that is wrong in one place.
MemoryPlan spoiled(Random& random, MemoryPlan plan) {
    const size_t s = static_cast<size_t>(random.whole(0, static_cast<int>(plan.places.size()) - 1));
    const size_t i = static_cast<size_t>(random.whole(0, static_cast<int>(plan.steps.size()) - 1));
    switch (random.whole(0, 3)) {
        case 0: plan.places[s].offset = plan.places[static_cast<size_t>(random.whole(0, static_cast<int>(s)))].offset; break;
        case 1: plan.places[s].floats -= plan.storages[s].row_floats; break;
        case 2: plan.steps.erase(plan.steps.begin() + static_cast<std::ptrdiff_t>(i)); break;
        default: plan.steps[i].first++;
    }
    return plan;
}

bool same_steps(const MemoryPlan& a, const MemoryPlan& b) {
    const auto same = [](const Step& x, const Step& y) { return x.kind == y.kind && x.what == y.what && x.first == y.first && x.last == y.last; };
    return std::equal(a.steps.begin(), a.steps.end(), b.steps.begin(), b.steps.end(), same);
}

}  // namespace

void test_memory(uint64_t seed, const std::string& isa) {
    Random random(seed);
    const Model model = random.one_in(3) ? make_model(random, isa) : make_ladder(random, isa);
    Plan& plan = *model.plan;
    const Frames frames = make_frames(random, plan.checked(plan.inputs()[0].map), 3);
    std::vector<std::vector<float>> expected;
    for (const auto& frame : frames) {
        State fresh(model.plan, std::make_shared<Threads>(1), false, 0.f);
        const float* source = frame.data();
        fresh.step({&source, 1});
        expected.push_back(outputs_of(fresh));
    }
    const std::string what = "plan " + std::to_string(seed) + " on " + isa;
    const int64_t unlimited = plan.dense_peak_bytes(2);
    plan.limit_memory(0, 2);
    const int64_t least = plan.dense_peak_bytes(2);
    for (const int64_t limit : {unlimited, (unlimited + least) / 2, least + (unlimited - least) / 8, least, least - 4}) {
        plan.limit_memory(limit, 2);
        const std::shared_ptr<const MemoryPlan> memory = plan.memory();
        check(plan.dense_peak_bytes(2) <= std::max(limit, least), "the limit of " + what);
        const std::string fault = MemoryCheck(plan, *memory).fault();
        check(fault.empty(), fault + ": " + what);
        for (int wrong = 0; wrong < 3; wrong++) {
            const MemoryPlan other = spoiled(random, *memory);
            if (!MemoryCheck(plan, other).fault().empty()) objections++;
            else if (!same_steps(other, *memory)) overlooked++;
        }
        for (int threads : {1, 2}) {
            State state(model.plan, std::make_shared<Threads>(threads), true, 0.f);
            check(state.bytes() == plan.state_bytes(true), "bytes of " + what);
            for (size_t i = 0; i < frames.size(); i++) {
                const float* source = frames[i].data();
                std::vector<float> outputs(expected[i].size(), 7.f);
                if (memory->work.stores) {
                    std::vector<float*> targets;
                    float* to = outputs.data();
                    for (const Border& border : plan.outputs()) {
                        const Map& m = plan.checked(border.map);
                        targets.push_back(to);
                        to += static_cast<int64_t>(m.height) * m.width * m.channels;
                    }
                    state.step({&source, 1}, targets);
                } else {
                    state.step({&source, 1});
                    outputs = outputs_of(state);
                }
                check(same_bits(outputs, expected[i]), "outputs of " + what + " under a limit of " + std::to_string(limit));
            }
        }
    }
}

// Branches at once: the memory of all of them is apart, and the outputs are those of one after the other.
void test_forks(uint64_t seed, const std::string& isa) {
    Random random(seed);
    const Model model = random.one_in(2) ? make_model(random, isa) : make_ladder(random, isa);
    Plan& plan = *model.plan;
    const Frames frames = make_frames(random, plan.checked(plan.inputs()[0].map), 3);
    const auto team = std::make_shared<Threads>(3);
    const auto outputs = [&](std::vector<std::vector<float>>& found) {
        State state(model.plan, team, true, 0.f);
        for (const auto& frame : frames) {
            std::vector<std::vector<float>> arrays;
            std::vector<float*> targets;
            if (plan.memory()->work.stores)
                for (const Border& b : plan.outputs()) {
                    const Map m = plan.checked(b.map);
                    arrays.emplace_back(static_cast<size_t>(m.height) * m.width * m.channels);
                }
            for (auto& array : arrays) targets.push_back(array.data());
            const float* source = frame.data();
            state.step({&source, 1}, targets);
            if (targets.empty()) arrays.push_back(outputs_of(state));
            auto& all = found.emplace_back();
            for (const auto& array : arrays) all.insert(all.end(), array.begin(), array.end());
        }
    };
    std::vector<std::vector<float>> expected, found;
    outputs(expected);
    std::vector<int> chosen(plan.forks(2).size());
    for (size_t i = 0; i < chosen.size(); i++) chosen[i] = static_cast<int>(i);
    plan.set_forks(chosen, 2);
    const std::string what = "forks of plan " + std::to_string(seed) + " on " + isa;
    const std::string fault = MemoryCheck(plan, *plan.memory()).fault();
    check(fault.empty(), fault + ": " + what);
    outputs(found);
    for (size_t i = 0; i < frames.size(); i++) check(same_bits(found[i], expected[i]), "outputs, " + what);
    forks_seen += static_cast<int64_t>(chosen.size());
}

}  // namespace reconv::testing
