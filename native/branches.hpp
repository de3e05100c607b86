// Branches of a dense-only run that do not depend on one another: jobs that may run at once, each branch on a thread.
#pragma once

#include <vector>

#include "memory.hpp"

namespace reconv {

// Forks between the jobs that run alone, none over another: those that look best on so many threads, roughly, beside every
// job shared among all threads. What they are worth is to be measured.
std::vector<Fork> forks_of(const MemoryPlan& plan, int threads);

// The same run with the jobs of these forks, and of no others, at once: what one of them touches lives as long as the
// fork, so that no two branches write to one place.
MemoryPlan branched(const MemoryPlan& plan, const std::vector<Fork>& forks);

}  // namespace reconv
