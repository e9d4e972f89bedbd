// SPDX-License-Identifier: Apache-2.0
// The template language against jinja2, its refusals at parse time, and hostile templates.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include "chat/chat_testing.h"
#include "chat/jinja/interpreter.h"

namespace qwin {
namespace {

using testing::HasSubstr;

std::string repeat(const std::string& text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

std::string render(const std::string& source, const Json& variables = Json::object()) {
  const jinja::Ast ast = jinja::parse_template(source);
  jinja::Budget budget;
  jinja::Interpreter interpreter(ast, budget);
  for (auto it = variables.begin(); it != variables.end(); ++it) {
    interpreter.define(it.key(), jinja::from_json(it.value(), budget));
  }
  return std::string(interpreter.run()->view());
}

std::string error_of_render(const std::string& source) {
  return error_of([&] { render(source); });
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kSmallStack = 4 << 20;  // its frames are several times larger
#else
constexpr size_t kSmallStack = 512 << 10;
#endif

// What `action` returns, run on a thread with a stack of kSmallStack bytes.
template <typename Action>
std::string on_small_stack(Action action) {
  struct Call {
    Action& action;
    std::string result;
  } call{action, ""};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kSmallStack);
  pthread_t thread;
  const auto body = [](void* argument) -> void* {
    auto* c = static_cast<Call*>(argument);
    c->result = c->action();
    return nullptr;
  };
  if (pthread_create(&thread, &attributes, body, &call) != 0) return "no thread";
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  return call.result;
}

TEST(JinjaTest, RendersEverySnippetAsJinja2Does) {
  const Json golden = Json::parse(read_testdata("chat/snippets.json"));
  EXPECT_GE(golden["cases"].size(), 150u);
  for (const Json& snippet : golden["cases"]) {
    const std::string source = snippet[0].get<std::string>();
    std::string got;
    const std::string error = error_of([&] { got = render(source, golden["variables"]); });
    EXPECT_EQ(error, "") << source;
    if (!error.empty()) continue;
    EXPECT_EQ(got, snippet[1].get<std::string>()) << source;
  }
}

TEST(JinjaTest, NamesWhatItDoesNotSupportWithTheLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"a\n{% include 'x' %}", "line 2: the tag 'include' is not supported"},
      {"{{ x | urlize }}", "the filter 'urlize' is not supported"},
      {"{{ x is escaped }}", "the test 'escaped' is not supported"},
      {"{{ x.format(1) }}", "the method 'format' is not supported"},
      {"{{ x.__class__() }}", "the method '__class__' is not supported"},
      {"{{ lipsum() }}", "'lipsum' is not supported"},
      {"{{ x(*y) }}", "'*' arguments are not supported"},
      {"{% for x in y recursive %}{% endfor %}", "'recursive' loops are not supported"},
      {"{% for x in y %}{% macro m() %}{% endmacro %}{% endfor %}", "a macro inside"},
      {"{% if x %}", "not closed"},
      {"{% endif %}", "the tag 'endif' is not supported"},
      {"{{ 'x }}", "a string is not closed"},
      {"{{ (1] }}", "unexpected ']'"},
      {"{# x", "a comment is not closed"},
      {"{{ x", "a tag is not closed"},
      {"{% raw %}x", "raw is not closed"},
      {"{% break %}", "outside a loop"},
      {"{{ 99999999999999999999 }}", "too large"},
      {"{{ }}", "expected an expression"},
      {"{{ \xC3\xA9 }}", "unexpected character"},
  };
  for (const auto& [source, what] : cases) {
    const std::string error = error_of_render(source);
    EXPECT_THAT(error, HasSubstr(what)) << source;
    EXPECT_THAT(error, HasSubstr("bad_template: chat template line ")) << source;
  }
}

TEST(JinjaTest, FaultsOfTheRunNameTheLine) {
  EXPECT_EQ(error_of_render("\n{{ 'a' + none }}"),
            "invalid_argument: chat template line 2: 'str' + 'NoneType' is not defined");
  for (const char* source : {"{{ x.y.z }}",
                             "{{ x + 1 }}",
                             "{{ 1 / 0 }}",
                             "{{ 1 // 0 }}",
                             "{{ 1 % 0 }}",
                             "{{ 'a' % 1 }}",
                             "{{ f() }}",
                             "{{ x | tojson }}",
                             "{{ 1 < 'a' }}",
                             "{{ {1: 2} }}",
                             "{% set a, b = [1] %}",
                             "{{ 'a'[::0] }}",
                             "{{ 5 | length }}",
                             "{% for i in 5 %}{% endfor %}",
                             "{{ 2 ** 500 }}",
                             "{{ range }}",
                             "{{ range(1, 2, 0) }}",
                             "{{ 'a'.split('') }}",
                             "{{ [1] | map('nope') }}",
                             "{{ 'a'.upper }}",
                             "{{ namespace(1) }}"}) {
    EXPECT_THAT(error_of_render(source), HasSubstr("invalid_argument: chat template line 1: ")) << source;
  }
}

TEST(JinjaTest, NothingOfTheProgramCanBeReached) {
  EXPECT_EQ(render("{{ ''.__class__ }}|{{ [].__class__ }}|{{ {}.__class__ }}|{{ 1.__class__ is defined }}"),
            "|||False");
  for (const char* source :
       {"{{ ''.__class__.__mro__ }}", "{{ range.__globals__.x }}", "{{ {}.update({}) }}", "{{ [].append(1) }}"}) {
    EXPECT_NE(error_of_render(source), "") << source;
  }
}

// Each must end in an Error, whatever it tries to use up; none may crash or hang.
TEST(JinjaTest, HostileTemplatesAreStopped) {
  const std::string double_string =
      "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
  const std::string sources[] = {
      "{% for i in range(10**9) %}{% endfor %}",
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      double_string,
      "{{ 'x' * 10**9 }}",
      "{{ [1] * 10**9 }}",
      "{{ ('x' * 10**6).replace('x', 'y' * 10**6) }}",
      "{{ ('x' * 10**7).replace('', 'yy') }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m(x) %}{{ m(x ~ x) }}{% endmacro %}{{ m('xx') }}",
      "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l == "
      "[ns.l] }}{{ ns.l | tojson }}",
      "{% set ns = namespace(n=1) %}{% for i in range(500) %}{% set ns.n = ns.n * 99 %}{% endfor %}",
      "{{ " + repeat("(", 5000) + "1" + repeat(")", 5000) + " }}",
      "{{ " + repeat("[", 5000) + repeat("]", 5000) + " }}",
      "{{ " + repeat("not ", 5000) + "1 }}",
      "{{ " + repeat("-", 5000) + "1 }}",
      "{{ 1" + repeat("+1", 20000) + " }}",
      "{{ x" + repeat("|trim", 20000) + " }}",
      "{{ x" + repeat(".a", 20000) + " }}",
      "{{ 1 " + repeat("if 1 else 1 ", 20000) + " }}",
      repeat("{% if 1 %}", 5000) + repeat("{% endif %}", 5000),
      repeat("{% for a in [1] %}", 5000) + repeat("{% endfor %}", 5000),
      "{{ 'a' | map(" + repeat("'map',", 5000) + "'upper') | list }}",
      repeat("x", 300 << 10),
      "{% for i in range(99999) %}{{ 'x' * 99999 }}{% endfor %}",
      "{% for i in range(99999) %}{% set a = ('x' * 99999) | upper | lower %}{% endfor %}",
      "{{ range(99999) | map('string') | map('list') | list | sort | tojson }}{% for i in range(9999) %}{{ "
      "range(99999) | sort }}{% endfor %}",
      "{{ ('ab ' * 9999999).split() | length }}",
      "{{ 'x' * 99999999 | reverse }}{{ ('x' * 60000000)[::-1] }}",
  };
  for (const std::string& source : sources) {
    const std::string error = error_of_render(source);
    EXPECT_NE(error, "") << source.substr(0, 200);
  }
}

// Filters over what is no list iterate something made for the occasion.
TEST(JinjaTest, SequenceFiltersTakeTextsDictsAndUndefined) {
  EXPECT_EQ(
      render("{{ 'banana' | unique | join }}{{ 'bca' | min }}{{ 'bca' | max }}{{ 'a1b' | select('upper') | list }}"
             "{{ {'x': 1, 'y': 2} | reject('eq', 'x') | list }}{{ q | sum }}{{ q | selectattr('r') | list }}{{ 'ab' | "
             "sort }}"),
      "banac[]['y']0[]['a', 'b']");
}

TEST(JinjaTest, CyclesOfNamespacesAreFreed) {
  EXPECT_EQ(render("{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{% set a.me = [a] %}{{ "
                   "a.b.a.me | length }}"),
            "1");
}

// A server's threads have small stacks: the deepest templates allowed must fit them.
TEST(JinjaTest, TheDeepestTemplatesNeedLittleStack) {
  const std::string sources[] = {
      "{{ " + repeat("(", 90) + "1" + repeat(")", 90) + " }}", "{{ 1" + repeat("+1", 90) + " }}",
      repeat("{% if 1 %}", 45) + repeat("{% endif %}", 45),
      "{% macro m(n) %}{% if n %}{{ [m(n - 1)] | join }}{% endif %}{% endmacro %}{{ m(20) }}"};
  for (const std::string& source : sources) {
    EXPECT_EQ(on_small_stack([&] { return error_of_render(source); }), "") << source.substr(0, 80);
  }
  // A run of macro calls that is cut off by the depth limit must get as far as that on the same stack.
  EXPECT_THAT(on_small_stack(
                  [] { return error_of_render("{% macro m() %}{{ [[m()] | join] | join }}{% endmacro %}{{ m() }}"); }),
              HasSubstr("too deep"));
}

TEST(JinjaTest, OriginsSurviveEveryTextOperation) {
  const Json variables = {{"s", "<x> y"}, {"l", {"<p>", "<q>"}}};
  const auto origins = [&](const std::string& source) {
    const jinja::Ast ast = jinja::parse_template(source);
    jinja::Budget budget;
    jinja::Interpreter interpreter(ast, budget);
    for (auto it = variables.begin(); it != variables.end(); ++it) {
      interpreter.define(it.key(), jinja::from_json(it.value(), budget));
    }
    std::string marked;
    const jinja::TextPtr text = interpreter.run();
    text->for_each_piece(0, text->size(), [&](std::string_view bytes, jinja::Origin origin) {
      marked += origin == jinja::Origin::author ? "T(" : "D(";
      marked += bytes;
      marked += ")";
    });
    return marked;
  };
  EXPECT_EQ(origins("a{{ s }}b"), "T(a)D(<x> y)T(b)");
  EXPECT_EQ(origins("{{ ('[' + s + ']')[1:-1] }}"), "D(<x> y)");
  EXPECT_EQ(origins("{{ ('[' ~ s ~ ']')[::-1] }}"), "T(])D(y >x<)T([)");
  EXPECT_EQ(origins("{{ ('<a> ' + s) | upper }}"), "T(<A> )D(<X> Y)");
  EXPECT_EQ(origins("{{ l | join('<s>') }}"), "D(<p>)T(<s>)D(<q>)");
  EXPECT_EQ(origins("{{ s.replace('y', '<t>') }}"), "D(<x> )T(<t>)");
  EXPECT_EQ(origins("{{ ('<t>' + s).split('>')[0] }}{{ ('<t>,' + s).split(',')[1].strip('<') }}"), "T(<t)D(x> y)");
  EXPECT_EQ(origins("{{ s | tojson }}"), "D(\"<x> y\")");
  EXPECT_EQ(origins("{{ {'k': s} | tojson }}"), "D({\")T(k)D(\": \"<x> y\"})");
  EXPECT_EQ(origins("{% set b %}<t>{{ s }}{% endset %}{{ b }}"), "T(<t>)D(<x> y)");
  EXPECT_EQ(origins("{% for c in s[:3] %}{{ c }}{% endfor %}"), "D(<x>)");
  EXPECT_EQ(origins("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(s) | trim }}"), "T(<)D(<x> y)T(>)");
  EXPECT_EQ(origins("{{ s | default('<t>') }}{{ q | default('<t>') }}{{ s * 2 }}"), "D(<x> y)T(<t>)D(<x> y<x> y)");
}

}  // namespace
}  // namespace qwin
