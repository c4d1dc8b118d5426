//===- CommandLine.cpp - Options of rwkv-run ------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CommandLine.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>

using namespace rwkvrt::cli;

void rwkvrt::cli::fail(const char *format, ...) {
  char text[4096];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  throw Failure{text};
}

void rwkvrt::cli::require(rwkvrt_status status) {
  if (status != RWKVRT_OK)
    throw Failure{rwkvrt_last_error()};
}

static int64_t parseInteger(const char *option, const char *text,
                            int64_t least) {
  char *end;
  errno = 0;
  long long value = std::strtoll(text, &end, 10);
  if (!*text || *end || errno || value < least)
    fail("%s: '%s' is not a whole number of at least %lld", option, text,
         static_cast<long long>(least));
  return value;
}

static double parseNumber(const char *option, const char *text, double least,
                          double most) {
  char *end;
  double value = std::strtod(text, &end);
  if (!*text || *end || !(value >= least && value <= most))
    fail(std::isinf(most) ? "%s: '%s' is not a number of at least %g"
                          : "%s: '%s' is not a number between %g and %g",
         option, text, least, most);
  return value;
}

static std::vector<int64_t> parseList(const char *option,
                                      const std::string &text, int64_t least) {
  std::vector<int64_t> numbers;
  size_t begin = 0;
  while (begin <= text.size()) {
    size_t end = std::min(text.find(',', begin), text.size());
    numbers.push_back(
        parseInteger(option, text.substr(begin, end - begin).c_str(), least));
    begin = end + 1;
  }
  return numbers;
}

std::string rwkvrt::cli::readFile(const char *purpose,
                                  const std::string &path) {
  std::FILE *file = std::fopen(path.c_str(), "rb");
  if (!file)
    fail("%s: cannot open '%s': %s", purpose, path.c_str(),
         std::strerror(errno));
  std::string content;
  char block[65536];
  while (size_t got = std::fread(block, 1, sizeof block, file))
    content.append(block, got);
  int reason = std::ferror(file) ? errno : 0;
  std::fclose(file);
  if (reason)
    fail("%s: cannot read '%s': %s", purpose, path.c_str(),
         std::strerror(reason));
  return content;
}

namespace {
struct Option {
  const char *name;
  const char *value; ///< what it takes, null = nothing
  const char *help;
  std::function<void(const char *)> set;
};

/// A heading of the help text and its options.
struct Group {
  const char *title;
  std::vector<Option> options;
};
} // namespace

static std::vector<Group> makeOptions(Options &o, bool &help) {
  auto mode = [&o](Mode mode) {
    if (o.mode != Mode::Generate && o.mode != mode)
      fail("only one of --info, --check, --check-forms and --bench can be "
           "given");
    o.mode = mode;
  };
  auto prompt = [&o](std::string text) {
    if (o.hasPrompt || o.hasTokens)
      fail("only one of --prompt, --prompt-file and --tokens can be given");
    o.prompt = std::move(text);
    o.hasPrompt = true;
  };
  constexpr double unlimited = HUGE_VAL;
  return {
      {"Generate text (the default)",
       {{"--prompt", "TEXT", "text to continue",
         [=](const char *v) { prompt(v); }},
        {"--prompt-file", "FILE", "continue the text in FILE",
         [=](const char *v) { prompt(readFile("--prompt-file", v)); }},
        {"--tokens", "ID,ID,...", "continue these token numbers",
         [&o](const char *v) {
           if (o.hasPrompt || o.hasTokens)
             fail("only one of --prompt, --prompt-file and --tokens can be "
                  "given");
           o.tokens = parseList("--tokens", v, 0);
           o.hasTokens = true;
         }},
        {"--max-tokens", "N", "stop after N new tokens (default 100)",
         [&o](const char *v) {
           o.maxTokens = parseInteger("--max-tokens", v, 0);
         }},
        {"--temperature", "T",
         "0 = always the likeliest token, higher = more variety (default 1)",
         [&o](const char *v) {
           o.temperature = parseNumber("--temperature", v, 0, unlimited);
         }},
        {"--top-p", "P",
         "choose among the likeliest tokens that together have probability P "
         "(default 0.5)",
         [&o](const char *v) { o.topP = parseNumber("--top-p", v, 0, 1); }},
        {"--seed", "S",
         "start of the random numbers; the same seed gives the same text "
         "(default 0)",
         [&o](const char *v) {
           o.seed = static_cast<uint64_t>(parseInteger("--seed", v, 0));
         }},
        {"--vocab", "FILE",
         "the model's vocabulary, a file like rwkv_vocab_v20230424.txt. Models "
         "with 256 tokens take bytes and need none; for others, token numbers "
         "are printed without it",
         [&o](const char *v) { o.vocabulary = v; }},
        {"--load-state", "FILE", "go on from a saved state",
         [&o](const char *v) { o.loadState = v; }},
        {"--save-state", "FILE", "save the state at the end",
         [&o](const char *v) { o.saveState = v; }}}},
      {"Look, check, measure",
       {{"--info", nullptr, "print the model's inputs, outputs and states",
         [=](const char *) { mode(Mode::Info); }},
        {"--check", "FILE.npz",
         "run the inputs recorded in FILE (run<i>/in/<name>) and compare the "
         "outputs (run<i>/out/<name>)",
         [=, &o](const char *v) {
           mode(Mode::Check);
           o.checkFile = v;
         }},
        {"--check-forms", "N,N,...",
         "feed N random tokens at once, one by one and in random pieces, and "
         "compare logits and states; the tokens are those of --seed",
         [=, &o](const char *v) {
           mode(Mode::CheckForms);
           o.formLengths = parseList("--check-forms", v, 1);
         }},
        {"--atol", "A",
         "with --check: allowed is an error of A + R * |recorded| (default 0)",
         [&o](const char *v) {
           o.atol = parseNumber("--atol", v, 0, unlimited);
         }},
        {"--rtol", "R",
         "with --check: R above (default 0); with --check-forms: allowed is a "
         "difference of R times the tensor's largest value (default 1e-5)",
         [&o](const char *v) {
           o.rtol = parseNumber("--rtol", v, 0, unlimited);
         }},
        {"--bench", "N",
         "run N tokens one by one, and a prompt at once; print tokens per "
         "second of both and the time per token",
         [=, &o](const char *v) {
           mode(Mode::Bench);
           o.benchTokens = parseInteger("--bench", v, 1);
         }},
        {"--bench-prompt", "N",
         "with --bench: tokens of the prompt (default 512)",
         [&o](const char *v) {
           o.benchPrompt = parseInteger("--bench-prompt", v, 1);
         }}}},
      {"General",
       {{"--device", "DEVICE",
         "what runs the model: cpu, opencl, cuda or hip, or opencl:N for "
         "device "
         "number N (default: RWKVC_DEVICE, or the best that the model has code "
         "for)",
         [&o](const char *v) { o.device = v; }},
        {"--threads", "N",
         "processor threads (default: RWKVC_NUM_THREADS, OMP_NUM_THREADS, or "
         "all processors)",
         [&o](const char *v) {
           o.threads = static_cast<int32_t>(
               std::min<int64_t>(parseInteger("--threads", v, 1), INT32_MAX));
         }},
        {"--help", nullptr, "print this",
         [&help](const char *) { help = true; }}}}};
}

/// Prints \p text in the help's right column.
static void printWrapped(const char *text) {
  constexpr size_t column = 26, width = 78;
  size_t used = column;
  for (const char *word = text; *word;) {
    size_t length = std::strcspn(word, " ");
    if (used != column && used + 1 + length > width) {
      std::printf("\n%*s", static_cast<int>(column), "");
      used = column;
    }
    used += static_cast<size_t>(std::printf("%s%.*s", used == column ? "" : " ",
                                            static_cast<int>(length), word));
    word += length + (word[length] == ' ');
  }
  std::printf("\n");
}

static void printHelp(const char *program, bool needsModel,
                      const std::vector<Group> &groups) {
  if (needsModel)
    std::printf("usage: %s MODEL [options]\n\n"
                "Runs a model compiled by rwkvc: a shared library, with its "
                "weights file beside it.\n",
                program);
  else
    std::printf("usage: %s [options]\n\n"
                "Runs the language model that this program contains.\n",
                program);
  for (const Group &group : groups) {
    std::printf("\n%s:\n", group.title);
    for (const Option &option : group.options) {
      std::string left = std::string("  ") + option.name +
                         (option.value ? std::string(" ") + option.value : "");
      std::printf("%-25s ", left.c_str());
      if (left.size() > 25)
        std::printf("\n%26s", "");
      printWrapped(option.help);
    }
  }
  std::printf("\nText goes to standard output, times to standard error. Exit "
              "status: 0 success,\n1 a check that failed, 2 an error.\n");
}

static size_t editDistance(const std::string &a, const std::string &b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

[[noreturn]] static void failUnknown(const std::string &name,
                                     const std::vector<Group> &groups) {
  const char *nearest = nullptr;
  size_t least = 1 + name.size() / 3;
  for (const Group &group : groups)
    for (const Option &option : group.options)
      if (size_t distance = editDistance(name, option.name);
          distance <= least) {
        least = distance;
        nearest = option.name;
      }
  if (nearest)
    fail("unknown option '%s'; did you mean '%s'?", name.c_str(), nearest);
  fail("unknown option '%s'; --help lists the options", name.c_str());
}

bool rwkvrt::cli::parseCommandLine(int argc, char **argv, bool needsModel,
                                   Options &options) {
  bool help = false, atol = false, rtol = false, benchPrompt = false;
  std::vector<Group> groups = makeOptions(options, help);
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument == "-h")
      argument = "--help";
    if (argument.size() < 2 || argument[0] != '-') {
      if (!needsModel)
        fail("unexpected argument '%s': this program contains its model",
             argv[i]);
      if (!options.model.empty())
        fail("one model at a time: '%s' and '%s' given", options.model.c_str(),
             argv[i]);
      options.model = argument;
      continue;
    }
    size_t equals = argument.find('=');
    std::string name = argument.substr(0, equals);
    const Option *found = nullptr;
    for (const Group &group : groups)
      for (const Option &option : group.options)
        if (name == option.name)
          found = &option;
    if (!found)
      failUnknown(name, groups);
    const char *value =
        equals == std::string::npos ? nullptr : argv[i] + equals + 1;
    if (!found->value && value)
      fail("%s takes no value", found->name);
    if (found->value && !value) {
      if (i + 1 == argc)
        fail("%s needs a value: %s %s", found->name, found->name, found->value);
      value = argv[++i];
    }
    found->set(value);
    atol |= name == "--atol";
    rtol |= name == "--rtol";
    benchPrompt |= name == "--bench-prompt";
  }
  if (help) {
    const char *slash = std::strrchr(argv[0], '/');
    printHelp(slash ? slash + 1 : argv[0], needsModel, groups);
    return false;
  }
  if (needsModel && options.model.empty())
    fail("no model given; usage: rwkv-run MODEL [options], see --help");
  if (atol && options.mode != Mode::Check)
    fail("--atol belongs to --check");
  if (rtol && options.mode != Mode::Check && options.mode != Mode::CheckForms)
    fail("--rtol belongs to --check and --check-forms");
  if (benchPrompt && options.mode != Mode::Bench)
    fail("--bench-prompt belongs to --bench");
  if (!rtol)
    options.rtol = options.mode == Mode::CheckForms ? 1e-5 : 0;
  return true;
}
