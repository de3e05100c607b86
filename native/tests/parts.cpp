// Stale sets against loops over bits, teams that start and stop, and the store of weights.
#include <atomic>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <thread>

#include "testing.hpp"

namespace reconv::testing {
namespace {

struct BitMap {  // exactly as many words as the set has, so that a sanitizer sees every word too many
    std::vector<uint64_t> words;
    Bits bits;
    BitMap(int height, int width) : words(static_cast<size_t>(height) * words_for(width)) {
        bits = {words.data(), height, width, words_for(width)};
    }
    void scatter(Random& random, int one_in) {
        for (int y = 0; y < bits.height; y++)
            for (int x = 0; x < bits.width; x++)
                if (random.one_in(one_in)) bits.set(y, x);
    }
};

bool clean(const Bits& bits) {  // nothing is set beyond the width
    for (int y = 0; y < bits.height; y++)
        if (const int rest = bits.width & 63; rest && bits.row(y)[bits.row_words - 1] >> rest) return false;
    return true;
}

bool touches(const Bits& in, const Window& w, int y, int x) {
    for (int ky = 0; ky < w.kernel_y; ky++)
        for (int kx = 0; kx < w.kernel_x; kx++) {
            const int from_y = y * w.stride_y - w.pad_y + ky * w.dilation_y, from_x = x * w.stride_x - w.pad_x + kx * w.dilation_x;
            if (from_y >= 0 && from_y < in.height && from_x >= 0 && from_x < in.width && in.test(from_y, from_x)) return true;
        }
    return false;
}

void check_window(Random& random, const Window& w, int in_height, int in_width, int out_height, int out_width) {
    BitMap in(in_height, in_width), out(out_height, out_width);
    in.scatter(random, random.pick({3, 40, 400}));
    out.scatter(random, 50);  // spread adds to what is there
    const BitMap before = out;
    const size_t words = static_cast<size_t>(in.bits.row_words + std::max(in.bits.row_words, words_for(out_width * w.stride_x)) + 2);
    std::vector<uint64_t> row(words, ~uint64_t{0});
    spread(in.bits, out.bits, w, row);
    bool same = true;
    const Bits old{const_cast<uint64_t*>(before.words.data()), out_height, out_width, out.bits.row_words};
    for (int y = 0; y < out_height; y++)
        for (int x = 0; x < out_width; x++) same = same && out.bits.test(y, x) == (old.test(y, x) || touches(in.bits, w, y, x));
    const auto text = [&w] {
        return "spread of kernel " + std::to_string(w.kernel_y) + "x" + std::to_string(w.kernel_x) + " strides " +
               std::to_string(w.stride_y) + " " + std::to_string(w.stride_x) + " pads " + std::to_string(w.pad_y) + " " +
               std::to_string(w.pad_x) + " dilations " + std::to_string(w.dilation_y) + " " + std::to_string(w.dilation_x);
    };
    check(same, same ? "" : text());
    check(clean(out.bits), "spread wrote beyond the width");
}

}  // namespace


void test_spread(Random& random) {
    for (int kernel = 1; kernel <= 5; kernel++)
        for (int stride = 1; stride <= 5; stride++)
            for (int pad = -2; pad <= 4; pad++)
                for (int dilation = 1; dilation <= 3; dilation++)
                    for (int width : {1, 2, 9, 63, 64, 65, 130}) {
                        const int fit = (width + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1;
                        const int out = random.pick({std::max(fit, 1), width, random.whole(1, 140)});
                        const Window across{random.whole(1, 3), kernel, random.whole(1, 2), stride, random.whole(-1, 1), pad,
                                            random.whole(1, 2), dilation};
                        check_window(random, across, random.whole(1, 3), width, random.whole(1, 4), out);
                        const Window down{kernel, random.whole(1, 3), stride, random.whole(1, 2), pad, random.whole(-1, 1), dilation, 1};
                        check_window(random, down, width % 61, random.whole(1, 4), out % 61 + 1, random.whole(1, 5));
                    }
    // paddings and dilations of more than a word
    for (int i = 0; i < 400; i++) {
        const Window w{1, random.whole(1, 4), 1, random.whole(1, 3), 0, random.whole(-150, 150), 1, random.pick({1, 31, 63, 64, 65})};
        check_window(random, w, 2, random.whole(1, 200), 2, random.whole(1, 200));
    }
}

void test_taps(Random& random) {
    for (int i = 0; i < 300; i++) {
        const int in_height = random.whole(1, 9), in_width = random.whole(1, 140), height = random.whole(1, 9), width = random.whole(1, 140);
        Taps taps;
        for (int y = 0; y < height; y++) taps.y0.push_back(random.whole(0, in_height - 1)), taps.y1.push_back(random.whole(0, in_height - 1));
        for (int x = 0; x < width; x++) taps.x0.push_back(random.whole(0, in_width - 1)), taps.x1.push_back(random.whole(0, in_width - 1));
        BitMap in(in_height, in_width), out(height, width);
        in.scatter(random, 20);
        std::vector<uint64_t> row(static_cast<size_t>(in.bits.row_words));
        spread(in.bits, out.bits, taps, row);
        bool same = true;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                bool any = false;
                for (int from_y : {taps.y0[y], taps.y1[y]})
                    for (int from_x : {taps.x0[x], taps.x1[x]}) any = any || in.bits.test(from_y, from_x);
                same = same && out.bits.test(y, x) == any;
            }
        check(same && clean(out.bits), "spread through taps");
    }
}

void test_runs(Random& random) {
    for (int i = 0; i < 1500; i++) {
        const int height = random.whole(1, 4), width = random.pick({1, 2, 63, 64, 65, 127, 128, 129, random.whole(1, 200)});
        BitMap set(height, width);
        if (random.one_in(4)) set.bits.fill();
        else set.scatter(random, random.pick({1, 2, 9, 90}));
        check(clean(set.bits), "fill wrote beyond the width");
        std::vector<Run> runs;
        runs.reserve(static_cast<size_t>(height) * ((width + 1) / 2));
        const size_t room = runs.capacity();
        const int64_t count = collect_runs(set.bits, 0, set.bits.height, runs);
        check(runs.capacity() == room, "more runs than foretold");
        BitMap again(height, width);
        int64_t pixels = 0;
        bool ordered = true;
        for (size_t r = 0; r < runs.size(); r++) {
            ordered = ordered && runs[r].x0 < runs[r].x1 && runs[r].x1 <= width;
            // maximal and ascending: the next run of the row starts behind a gap
            if (r) ordered = ordered && (runs[r].y > runs[r - 1].y || (runs[r].y == runs[r - 1].y && runs[r].x0 > runs[r - 1].x1));
            for (int x = runs[r].x0; x < runs[r].x1; x++) again.bits.set(runs[r].y, x), pixels++;
        }
        check(ordered, "runs out of order");
        check(again.words == set.words && pixels == count && count == set.bits.count(), "runs are not the set");
        check(set.bits.any() == (count > 0), "any");
        set.bits.clear();
        check(!set.bits.any() && set.bits.count() == 0, "clear");
    }
}

// --- teams

void test_team(Random& random) {
    for (int i = 0; i < 60; i++) {
        Threads team(random.whole(1, 6));
        const int steps = random.whole(0, 4);
        for (int s = 0; s < steps; s++) {
            Threads::Session session(team);
            check(session.count() == team.count(), "a free team gives all its members");
            Threads::Session second(team);
            check(second.count() == 1, "a busy team leaves the caller alone");
            for (int run = 0; run < 20; run++) {
                std::vector<int> done(static_cast<size_t>(random.whole(1, 40)), 0);
                std::atomic<int> next{0};
                const std::function<void(float*)> work = [&](float*) {
                    for (int p; (p = next.fetch_add(1)) < static_cast<int>(done.size());) done[p]++;
                };
                (run % 5 == 4 ? second : session).run(work);
                bool once = true;
                for (int n : done) once = once && n == 1;
                check(once, "every piece is done once, and done when run returns");
            }
        }
    }
    bool refused = false;
    try {
        Threads team(0);
    } catch (const std::invalid_argument&) {
        refused = true;
    }
    check(refused, "a team of no threads is refused");
}

// A caller that goes from processor to processor, on a thread of its own: members follow to the others that are allowed.
// Members that come out of a step just as their team ends must not miss that it ends.
void test_team_ends() {
    for (int round = 0; round < 6000; round++) {
        Threads team(2);
        Threads::Session session(team);
        session.reserve(1);
        const std::function<void(float*)> nothing = [](float*) {};
        session.run(nothing);
    }
    check(true, "teams end");
}

void test_processors() {
#if defined(__linux__)
    std::thread caller([] {
        cpu_set_t allowed;
        if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
        Threads team(3);
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (!CPU_ISSET(cpu, &allowed)) continue;
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
            std::atomic<int> beside{0}, outside{0}, came{0};
            const std::thread::id self = std::this_thread::get_id();
            for (int run = 0; run < 20; run++)
                Threads::Session(team).run([&](float*) {
                    if (std::this_thread::get_id() == self) {  // until a member is here, for a moment
                        for (int i = 0; i < 200 && came == 0; i++) std::this_thread::sleep_for(std::chrono::microseconds(50));
                        return;
                    }
                    const int mine = sched_getcpu();
                    came++;
                    beside += mine == cpu;
                    outside += !CPU_ISSET(mine, &allowed);
                });
            check(CPU_COUNT(&allowed) == 1 || beside == 0, "a member runs on its caller's processor");
            check(outside == 0, "a member runs where it is not allowed to");
            check(came > 0, "no member came");
        }
    });
    caller.join();
#endif
}

// Each member writes in its turn what the others read after the wait.
void test_together(Random& random) {
    for (int i = 0; i < 30; i++) {
        Threads team(random.whole(1, 5));
        Threads::Session session(team), second(team);
        for (int run = 0; run < 10; run++) {
            const int phases = random.whole(1, 30);
            std::vector<int> values(64, 0);
            std::atomic<int> members{0}, faults{0}, most{0};
            const std::function<void(Member&)> work = [&](Member& member) {
                members++;
                most = member.count;
                for (int phase = 1; phase <= phases; phase++) {
                    values[static_cast<size_t>(member.id)] = phase;
                    member.wait();
                    for (int other = 0; other < member.count; other++)
                        if (values[static_cast<size_t>(other)] != phase) faults++;
                    member.wait();
                }
            };
            (run % 5 == 4 ? second : session).together(work);
            check(members == most && most >= 1 && most <= team.count(), "as many go through the work as they are told");
            check(faults == 0, "what a member has written before a wait is seen after it");
        }
    }
}

void test_weights(Random& random) {
    WeightStore store;
    for (int i = 0; i < 50; i++) {
        const auto values = random.normals(random.whole(0, 40));
        const Lines lines(values.begin(), values.end());
        Lines other = lines;
        const auto first = store.keep(lines), again = store.keep(Lines(lines));
        check(first == again, "equal weights are kept once");
        if (other.empty()) continue;
        other[static_cast<size_t>(random.whole(0, static_cast<int>(other.size()) - 1))] += 1.f;
        check(store.keep(other) != first, "other weights are kept apart");
    }
    std::vector<std::thread> callers;
    std::vector<std::shared_ptr<const Packed>> found(4);
    for (auto& mine : found) callers.emplace_back([&store, &mine] { mine = store.keep(Lines(1000, 3.f)); });
    for (auto& caller : callers) caller.join();
    for (const auto& mine : found) check(mine == found[0], "threads that keep equal weights get the same");
}

}  // namespace reconv::testing
