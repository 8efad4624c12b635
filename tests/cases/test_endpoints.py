"""What OpenAI-compatible servers, keys and client environments do. Every server listens on the loopback."""

import pytest


def one_sentence(output):
    """The run ended before anything was trained, without a traceback."""
    assert "Traceback" not in output and "training the seed" not in output, output


class TestAlwaysRejected:
    @pytest.mark.parametrize("mode", ["no-system", "max-tokens", "context"])
    def test_what_can_be_taken_back_is_taken_back(self, case, mode):
        here = case("endpoints/always-rejected")
        done = here.run(mode)
        assert done.exit_code == 0, done.output
        counts = done.counts()
        assert counts["invalid"] == counts["failed"] == 0 and counts["trained"] > 0
        assert done.requests <= counts["proposed"] + 4
        with here.server(mode) as address:
            code, facts = here.ask("doctor", "--llm", "my-model", "--api-base", address)
        assert facts["llm"]["reachable"] and facts["llm"]["sent_otherwise"] and code == 0

    @pytest.mark.parametrize("mode", ["model-id", "key", "stream"])
    def test_what_is_permanent_ends_the_run_after_a_few(self, case, mode):
        here = case("endpoints/always-rejected")
        done = here.run(mode, V="48")
        assert done.exit_code in (1, 2), done.output
        assert done.requests <= 6 and "Traceback" not in done.output
        said = {"model-id": "is not a valid model ID", "key": "API key not valid", "stream": "only support stream mode"}[mode]
        assert said in done.output
        with here.server(mode) as address:
            code, facts = here.ask("doctor", "--llm", "my-model", "--api-base", address)
        assert code == 1 and not facts["llm"]["reachable"] and said in facts["llm"]["reason"]

    def test_of_two_models_the_good_one_takes_over(self, case):
        here = case("endpoints/always-rejected")
        done = here.run("one-of-two", LLM="a,b", V="12")
        assert done.exit_code == 0, done.output
        counts = done.counts()
        assert counts["trained"] + counts["duplicate"] >= 8, done.output
        assert counts["proposed"] - counts["trained"] - counts["duplicate"] <= 4


class TestClientEnvironment:
    @pytest.mark.parametrize(
        ("environment", "variable"),
        [
            ({"all_proxy": "socks://127.0.0.1:1080/"}, "all_proxy"),
            ({"ALL_PROXY": "socks5://127.0.0.1:1080"}, "ALL_PROXY"),
            ({"no_proxy": "localhost,127.0.0.1,::1,fe80::/10", "http_proxy": "http://127.0.0.1:9"}, "no_proxy"),
            ({"http_proxy": "http://127.0.0.1:9"}, "http_proxy"),
            ({"SSL_CERT_FILE": "/nowhere/ssl/cacert.pem"}, "SSL_CERT_FILE"),
            ({"OPENAI_API_KEY": "sk-abc…def"}, "OPENAI_API_KEY"),
            ({"OPENAI_ORG_ID": "org-é"}, "OPENAI_ORG_ID"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_it_works_or_one_sentence_names_the_variable(self, case, environment, variable):
        done = case("endpoints/client-environment").run(**environment)
        if done.exit_code == 0:  # the endpoint is on the loopback: no proxy is needed, nor a certificate
            assert "proxy" in variable.lower() or variable == "SSL_CERT_FILE"
            assert done.counts()["trained"] > 0
        else:
            assert done.exit_code == 2
            one_sentence(done.output)
            assert variable in done.output and "sk-abc" not in done.output


class TestEmptyAnswers:
    @pytest.mark.parametrize(
        ("mode", "words"),
        [
            ("reasoning-only", "reasoning"),
            ("content-filter", "content filter"),
            ("refusal", "I cannot help with that"),
            ("tool-calls", "tool"),
        ],
    )
    def test_the_reason_is_named_and_asked_again_once_at_most(self, case, mode, words):
        here = case("endpoints/empty-answers")
        done = here.run(mode, T="60")
        assert "Traceback" not in done.output
        assert words in done.output, done.output
        assert "no fenced Python block" not in done.output
        assert done.requests <= 10
        assert words in here.evolve("show", done.run, "0001")[1]
        assert self.refused_by_doctor(here, mode, words)

    def test_an_error_behind_the_endpoint_is_an_outage_and_told_in_its_words(self, case):
        here = case("endpoints/empty-answers")
        done = here.run("upstream-error", T="60")
        assert "Traceback" not in done.output
        assert "my-model does not answer: upstream died" in done.output
        assert self.refused_by_doctor(here, "upstream-error", "upstream died")

    def refused_by_doctor(self, here, mode, words):
        with here.server(mode) as address:
            code, facts = here.ask("doctor", "--llm", "my-model", "--api-base", address)
        return code == 1 and not facts["llm"]["reachable"] and words in facts["llm"]["reason"]


@pytest.mark.parametrize("mode", ["list-item", "same-line", "close-on-code-line", "in-markdown", "label-pytorch"])
def test_fences_that_are_not_seen(case, mode):
    done = case("endpoints/fences-that-are-not-seen").run(mode)
    assert done.exit_code == 0, done.output
    counts = done.counts()
    assert counts["invalid"] == counts["failed"] == 0 and counts["trained"] > 0


def test_key_with_line_break(case):
    done = case("endpoints/key-with-line-break").run(T="60")
    assert done.exit_code == 2 and done.requests == 0
    one_sentence(done.output)
    assert "OPENAI_API_KEY" in done.output
    assert "SECRET" not in done.output.replace("with the key:", "")
    assert not [p for p in done.scratch.rglob("*") if p.is_file() and b"SECRET" in p.read_bytes()]


class TestLoneSurrogate:
    @pytest.mark.parametrize("mode", ["code", "prose"])
    def test_the_run_goes_on_and_is_resumed(self, case, mode):
        here = case("endpoints/lone-surrogate-answer")
        done = here.run(mode)
        assert done.exit_code == 0 and "Traceback" not in done.output, done.output
        code, facts = here.ask("status", done.run)
        assert code == 0 and facts["state"] == "finished" and facts["counts"]["proposed"] == 12
        assert here.evolve("show", done.run, "0001")[0] == 0

    def test_an_answer_without_code_is_a_reason(self, case):
        here = case("endpoints/lone-surrogate-answer")
        done = here.run("no-code")
        assert done.exit_code == 1 and "Traceback" not in done.output
        assert here.evolve("show", done.run, "0001")[0] == 0


@pytest.mark.parametrize("mode", ["vllm", "router"])
def test_openai_prefix_with_api_base(case, mode):
    done = case("endpoints/openai-prefix-with-api-base").run(mode)
    assert done.exit_code == 0, done.output
    assert done.counts()["trained"] > 0
