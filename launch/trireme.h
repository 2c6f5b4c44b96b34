// Trireme as a library: what a program begins with. It links Trireme::trireme (find_package(Trireme), or
// add_subdirectory), includes <trireme/trireme.h>, and finds in examples/ how to continue.
#pragma once

// Ranks: of mpirun, as threads of one process, or one alone.
#include "runtime/comm/mpi/run_mpi_ranks.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"

// Data: token files and tokenizers, samples, micro-batches.
#include "parallel/batches/batch_prefetcher.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/data/batch_reader.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/data/tokens/token_file.h"

// Models, the session that trains one in a layout, and layers of one's own.
#include "models/families/family.h"
#include "models/session/training_session.h"
#include "parallel/module/model_part.h"
#include "parallel/training/training_step.h"

// Runs of the program: their configuration and their data.
#include "launch/run/load_run.h"
#include "launch/run/text_loss.h"
#include "launch/run/training_data.h"
