# SPDX-License-Identifier: Apache-2.0
"""The chat page in a real Chromium, with answers scripted by a stand-in for POST /chat."""

import json
import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.long, pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")]

MARKDOWN = """# Title

Some *soft*, **strong** and `code`, <img src=x onerror=alert(1)> and [a link](https://example.org) and [bad](javascript:alert(1)).

- one
- two
  - inner

```python
def f(x):  # why
    return "<b>" + str(42)
```

| a | b |
|---|---|
| 1 | 2 |

Inline $x^2 + \\\\frac{1}{2}$ and

$$\\\\sum_{i=1}^n i = \\\\frac{n(n+1)}{2}$$

![picture](https://evil.example/steal?x=1)
"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page, with what it asked for and complained about."""

    def __init__(self, browser, server, **options):
        self.context = browser.new_context(locale=options.pop("locale", "en-US"), **options)
        self.page = self.context.new_page()
        self.requests, self.faults = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda message: message.type == "error" and self.faults.append(message.text))
        self.page.on("dialog", lambda dialog: dialog.accept())
        self.page.goto(server.url)
        self.page.wait_for_selector(".welcome")

    def script(self, *texts):
        """The next answers of /chat; the server itself is not asked."""
        answers = iter(texts)

        def answer(route):
            text = next(answers)
            pieces = [text[i:i + 7] for i in range(0, len(text), 7)]
            events = [{"text": "", "session": "chat-1"}, *({"text": piece} for piece in pieces),
                      {"session": "chat-1", "finish_reason": "stop",
                       "usage": {"prompt_tokens": 30, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 20}},
                       "timings": {"predicted_per_second": 12.5, "ttft_ms": 80}}]
            body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
            self.asked = json.loads(route.request.post_data)
            route.fulfill(status=200, content_type="text/event-stream", body=body)

        self.page.route("**/chat", answer)

    def say(self, text):
        self.page.fill("#prompt", text)
        self.page.keyboard.press("Enter")
        self.finished()

    def finished(self):
        playwright.expect(self.page.locator("#send")).to_be_visible(timeout=20000)


@pytest.fixture
def watched(browser, server):
    opened = []

    def start(**options):
        opened.append(Watched(browser, server, **options))
        return opened[-1]

    yield start
    for view in opened:
        assert not view.faults
        assert all(url.startswith((server.url, "data:")) for url in view.requests), view.requests
        view.context.close()


def test_markdown_becomes_nodes_and_nothing_runs(watched):
    view = watched()
    view.script(MARKDOWN.replace("\\\\", "\\"))
    view.say("show me")
    body = view.page.locator(".assistant .body")
    for selector in ("h2", "em", "strong", "ul ul li", "pre .k", "pre .s", "pre .c", "table td", "math mfrac", "math munderover"):
        assert body.locator(selector).count() > 0, selector
    assert body.locator("img, script, iframe").count() == 0
    assert "<img src=x" in body.inner_text()
    links = [link.get_attribute("href") for link in body.locator("a").all()]
    assert "https://example.org/" in links and not any(link.startswith("javascript") for link in links)
    assert "12.5 tokens/s" in view.page.locator(".facts").inner_text()
    assert "cache 20/30" in view.page.locator(".facts").inner_text()


def test_again_and_edit_replace_the_turn(watched):
    view = watched()
    view.script("first", "second", "third")
    view.say("one")
    view.page.get_by_role("button", name="Again").click()
    playwright.expect(view.page.locator(".assistant .body")).to_contain_text("second")
    assert view.asked["replace_from"] == 0 and view.asked["session"] == "chat-1"
    view.page.get_by_role("button", name="Edit").click()
    view.page.fill(".edit", "uno")
    view.page.get_by_role("button", name="Send anew").click()
    playwright.expect(view.page.locator(".assistant .body")).to_contain_text("third")
    assert view.asked["prompt"] == "uno" and view.page.locator(".message").count() == 2


def test_a_real_conversation_is_listed_opened_and_forgotten(watched):
    view = watched()
    view.page.click("#settings-open")
    view.page.fill("#set-max-tokens", "4")
    view.page.get_by_role("button", name="Done").click()
    view.say("Hello there")
    view.page.wait_for_selector("#sessions .current")
    assert view.page.locator("#title").inner_text() == "Hello there"
    view.page.reload()
    view.page.get_by_role("button", name="Hello there", exact=True).click()
    view.page.wait_for_selector(".assistant")
    assert view.page.locator(".user .body").inner_text() == "Hello there"
    view.page.get_by_role("button", name="Forget this conversation: Hello there").click()
    playwright.expect(view.page.locator("#sessions li")).to_have_count(0)


def test_stop_keeps_what_was_written(watched):
    view = watched()
    view.page.fill("#prompt", "go on and on")
    view.page.keyboard.press("Enter")
    view.page.keyboard.press("Escape")
    view.finished()
    playwright.expect(view.page.locator("#status")).not_to_be_empty()


def test_no_url_parameter_submits_a_prompt(watched, server):
    view = watched()
    view.page.goto(server.url + "/?q=hello&prompt=hello")
    view.page.wait_for_selector(".welcome")
    assert view.page.locator(".message").count() == 0


def test_speaks_chinese_and_fits_a_phone(watched):
    view = watched(locale="zh-CN", viewport={"width": 360, "height": 640}, color_scheme="dark")
    assert view.page.locator("#send").get_attribute("aria-label") == "发送"
    assert view.page.locator("main").bounding_box()["width"] <= 360
    assert not view.page.locator("#side").is_visible()
    view.page.click("#menu")
    assert view.page.locator("#side").is_visible()
    view.page.click("#language")
    assert view.page.locator("#new").inner_text() == "New chat"
    view.page.keyboard.press("Escape")
    assert not view.page.locator("#side").is_visible()


def test_thoughts_are_kept_apart(watched):
    view = watched()
    view.script("<think>\nHm, seven.\n</think>\n\nIt is **seven**.")
    view.say("three and four?")
    assert view.page.locator(".thoughts").inner_text() == "Thoughts"
    view.page.click(".thoughts summary")
    assert "Hm, seven." in view.page.locator(".thoughts").inner_text()
    assert view.page.locator(".body > div").inner_text() == "It is seven."


def test_colours_follow_the_setting(watched):
    view = watched(color_scheme="dark")
    ground = lambda: view.page.evaluate("getComputedStyle(document.body).backgroundColor")  # noqa: E731
    dark = ground()
    view.page.click("#settings-open")
    view.page.select_option("#set-theme", "light")
    view.page.keyboard.press("Escape")
    assert ground() == "rgb(255, 255, 255)" != dark
    view.page.reload()
    assert ground() == "rgb(255, 255, 255)"


def test_everything_is_reached_by_keyboard(watched):
    view = watched()
    view.script("first", "second")
    view.say("one")
    assert view.page.evaluate("document.activeElement.id") == "prompt"
    names = set()
    for _ in range(20):
        view.page.keyboard.press("Tab")
        names.add(view.page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.innerText"))
    assert {"New chat", "Settings", "中文", "Edit", "Copy", "Again", "Conversation"} <= names, names


def test_a_long_answer_never_holds_the_page_up(watched):
    """Only blocks that change are built anew: no frame waits for the whole answer to be laid out again."""
    view = watched()
    view.page.evaluate(r"""async () => {
        const { MarkdownView } = await import("./page/markdown.js");
        const node = document.createElement("div");
        document.getElementById("log").replaceChildren(node);
        const view = new MarkdownView(node);
        const part = "A paragraph with `code`, **weight** and $x^2$.\n\n```python\ndef f(x):\n    return x + 1\n```\n\n- one\n- two\n\n";
        let source = "", kept = null;
        window.rebuilt = 0;
        for (let i = 0; i < 300; ++i) {
            source += part;
            view.update(source);
            kept ??= node.firstChild;
            if (node.firstChild !== kept) ++window.rebuilt;
            await new Promise(requestAnimationFrame);
        }
    }""")
    assert view.page.evaluate("window.rebuilt") == 0
    assert view.page.locator("#log pre").count() == 300


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (360, 640)])
def test_axe_finds_nothing(watched, scheme, size):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed").Axe()
    view = watched(color_scheme=scheme, viewport={"width": size[0], "height": size[1]})

    def check(where):
        results = axe.run(view.page).response["violations"]
        assert not results, where + ": " + "; ".join(f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in results)

    check("empty")
    view.script("<think>\nHm.\n</think>\n\n" + MARKDOWN.replace("\\\\", "\\"))
    view.say("show me")
    check("an answer")
    view.page.hover(".user")
    view.page.get_by_role("button", name="Edit").click()
    check("editing")
    if size[0] < 700:
        view.page.click("#menu")
        check("the side")
    view.page.click("#settings-open")
    check("settings")
