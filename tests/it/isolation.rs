//! The tier `sandbox` in runs of the loop: what agent and product see and reach, which step is taken
//! where another is missing, and what the record says of it. `tests/attacks/` has those who try.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::Product;

/// Every mechanism that a machine can have.
const ALL: &str = "root,user-namespace,bubblewrap,sudo,landlock";

/// A product whose agent runs `turn` in its workspace, and whose words are looked for.
fn product(turn: &str, more: &str) -> Product {
    let product = Product::new().file("words.txt", "one\n").file(".gitignore", "out/\n");
    let script = product.base().join("agent.sh");
    fs::write(&script, turn).unwrap();
    product
        .config(&format!(
            "satisfaction: {{threshold: 1.0}}\nbudget: {{max_iterations: 2}}\nagent:\n  \
             backend: command\n  command: [bash, \"{}\"]\nisolation: {{}}\n{more}",
            script.display()
        ))
        .scenario("words", "grep -q two words.txt")
}

fn receipt(product: &Product) -> Value {
    let shown = product.factory(&["show", "--receipt", "1"]);
    serde_json::from_str(&shown.code(0).stdout).unwrap()
}

/// Returns what the mechanisms named in `enforced` of a receipt are beyond those of `copy`.
fn beyond_copy(receipt: &Value) -> Vec<String> {
    let all = receipt["enforced"].as_array().unwrap().iter();
    let names = all.map(|name| name.as_str().unwrap().to_owned());
    let copy = ["workspace", "private_home", "named_variables", "reaping", "import"];
    names.filter(|name| !copy.contains(&name.as_str()) && name != "private_memory").collect()
}

#[test]
fn an_agent_sees_its_workspace_and_nothing_of_the_person() {
    let product = product(
        "{ for dir in \"$1\"/product \"$1\"/state \"$1\"/home; do ls -A $dir 2>&1; done\n\
         ls /proc | grep -c '^[0-9]'; cat /proc/1/environ 2>&1 | wc -c; } > seen.txt\n\
         (setsid sleep 300 >/dev/null 2>&1 &); sleep 0.1\necho two >> words.txt",
        "",
    );
    let base = product.base().display().to_string();
    fs::write(product.base().join("home/private"), "").unwrap();
    let config = product
        .read("dark-factory.yaml")
        .replace("agent.sh\"]", &format!("agent.sh\", \"{base}\"]"));
    product.write("dark-factory.yaml", config);
    let product = product.committed();
    product
        .iterate(&[])
        .code(0)
        .says("isolation `sandbox`")
        .says("tier sandbox; nothing of the exam");
    let seen = product.git(&["show", &format!("{}:seen.txt", product.branch())]);
    for hidden in ["scenarios", "words.md", "private", "journal"] {
        assert!(!seen.contains(hidden), "{seen}");
    }
    let receipt = receipt(&product);
    assert_eq!((&receipt["tier"], &receipt["reaped"]), (&json!("sandbox"), &json!(1)));
    let enforced = beyond_copy(&receipt);
    for name in ["namespaces", "no_privileges", "system_calls", "network"] {
        assert!(enforced.contains(&name.to_owned()), "{enforced:?}");
    }
}

#[test]
fn an_agent_reaches_hosts_by_the_broker_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // A server that is not allowed has no door in the sandbox.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = other.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 4];
        stream.read_exact(&mut asked).unwrap();
        stream.write_all(b"pong").unwrap();
        asked
    });
    let ask = "ask() {\n  exec 3<>/dev/tcp/127.0.0.1/${HTTP_PROXY##*:}\n  \
               printf 'CONNECT %s HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n' $1 $1 >&3\n  read -r line <&3; echo \"$line\"\n}\n";
    let turn = format!(
        "{ask}exec > seen.txt 2>&1\nask example.com:443\n\
         (exec 4<>/dev/tcp/127.0.0.1/{closed}) && echo reached\n\
         ask 127.0.0.1:{port}\nread -r empty <&3\nprintf ping >&3\nhead -c 4 <&3\n\
         echo two >> words.txt\n"
    );
    let product = product(&turn, &format!("network: {{allow: [\"127.0.0.1:{port}\"]}}\n"));
    let product = product.committed();
    product.iterate(&[]).code(0).says("asked for example.com, which `network.allow` does not name");
    assert_eq!(&server.join().unwrap(), b"ping");
    let seen = product.git(&["show", &format!("{}:seen.txt", product.branch())]);
    assert!(seen.contains("HTTP/1.1 403") && seen.contains("HTTP/1.1 200"), "{seen}");
    assert!(seen.ends_with("pong") && !seen.contains("reached"), "{seen}");
    let contacted = receipt(&product)["contacted"].clone();
    let outcomes: Vec<_> = contacted
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["host"].as_str().unwrap(), one["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(outcomes, [("127.0.0.1", "allowed"), ("example.com", "denied")]);
}

#[test]
fn without_a_network_there_is_no_way_out() {
    let turn = "echo ${HTTP_PROXY-none} > seen.txt; echo two >> words.txt";
    let product = product(turn, "network: {access: none}\n").committed();
    product.iterate(&[]).code(0);
    assert_eq!(product.git(&["show", &format!("{}:seen.txt", product.branch())]), "none");
}

#[test]
fn the_next_step_is_taken_where_one_is_missing_and_said() {
    let turn = "echo two >> words.txt";
    for (without, said) in [
        ("root,user-namespace,bubblewrap,sudo", "confined by `landlock`, since `"),
        (ALL, "isolation is `copy`: no kind of confinement holds on this machine: "),
    ] {
        let product = product(turn, "").committed();
        product.iterate_with(&[], &[("DARK_FACTORY_WITHOUT", without)]).code(0).says(said);
        let enforced = beyond_copy(&receipt(&product));
        assert_eq!(enforced.contains(&"landlock".to_owned()), without != ALL, "{enforced:?}");
        assert!(!enforced.contains(&"namespaces".to_owned()), "{enforced:?}");
    }
    let product = product(turn, "").committed();
    product.iterate_with(&[], &[("DARK_FACTORY_WITHOUT", "landlock")]).code(0);
    let enforced = beyond_copy(&receipt(&product));
    assert!(enforced.contains(&"namespaces".to_owned()), "{enforced:?}");
    assert!(!enforced.contains(&"landlock".to_owned()), "{enforced:?}");
}

#[test]
fn a_run_does_not_go_on_with_less_than_it_began_with() {
    let product = product("echo two >> words.txt", "").committed();
    product.iterate(&["--once", "--max-iterations", "2"]);
    let other = self::product("true", "").committed();
    other.iterate(&["--once"]).code(5);
    let said = other.iterate_with(&["--resume"], &[("DARK_FACTORY_WITHOUT", ALL)]).code(6);
    said.says("isolation `sandbox` is asked for and can't be had");
}

#[test]
fn what_is_judged_has_a_home_a_tmp_and_a_network_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let leave = "echo mine > $HOME/left; echo mine > $TMPDIR/left; echo mine > /tmp/left";
    let reach = format!("(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null");
    let product = Product::new().config("isolation: {}\nsatisfaction: {threshold: 1.0}\n");
    let exam = product.path("scenarios/a.md").display().to_string();
    let product = product
        .scenario("a", &format!("test ! -e {exam} && {leave}"))
        .scenario("b", "test -z \"$(ls -A $HOME $TMPDIR /tmp | grep left)\"")
        .scenario("c", &format!("! {reach}"))
        .file(
            "scenarios/d.md",
            format!("---\nnetwork: true\n---\n# D\n\n## Evaluation\n```bash\n{reach}\n```\n"),
        )
        .committed();
    product.iterate(&["--no-agent"]).code(0).says("4 of 4 satisfied");
}

#[test]
fn fixtures_share_a_loopback_with_what_needs_them() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Nothing but bash answers on a port everywhere: what goes on writes to the fixture's directory.
    let product = Product::new()
        .config(
            "isolation: {}\nfixtures:\n- name: tick\n  \
             start: '(while :; do date +%N > $FACTORY_DIR_TICK/t; sleep 0.02; done) & sleep 0.1'\n",
        )
        .file(
            "scenarios/a.md",
            format!(
                "---\nneeds: [tick]\n---\n# A\n\n## Evaluation\n```bash\n\
                 before=$(cat $FACTORY_DIR_TICK/t)\n\
                 for i in {{1..500}}; do sleep 0.02; now=$(cat $FACTORY_DIR_TICK/t); [ \"$now\" = \"$before\" ] || break; done\n\
                 test \"$before\" != \"$now\" || exit 3\n\
                 ! (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null\n```\n"
            ),
        )
        .committed();
    product.iterate(&["--no-agent"]).code(0).says("1 of 1 satisfied");
    product.assert_nothing_alive();
}

#[test]
fn nothing_that_an_earlier_candidate_built_is_there_for_the_next() {
    let turn = "echo $((n = $(cat n 2>/dev/null || echo 0) + 1)) > n; echo two >> words.txt";
    let product =
        product(turn, "gates: [{name: build, run: 'mkdir -p out; cp n out/ 2>/dev/null; true'}]\n")
            .scenario("fresh", "test ! -e out/poison && touch out/poison && test \"$(cat n)\" = 2")
            .committed();
    product.iterate(&[]).code(0).says("converged");
}

#[test]
fn what_was_prepared_at_one_path_is_judged_and_worked_on_there() {
    let turn =
        "test \"$(cat deps/where)\" = \"$PWD\" && test -x deps/tool && echo two >> words.txt";
    let prepare = "prepare:\n- name: deps\n  run: 'mkdir deps; pwd > deps/where; cp /bin/true deps/tool'\n  \
                   inputs: [words.lock]\n  outputs: [deps]\n";
    let product = product(turn, prepare)
        .file("words.lock", "1")
        .file(".gitignore", "deps\n")
        .scenario(
            "here",
            "test \"$(cat deps/where)\" = \"$PWD\" && grep -q \"start(\\[\\\"$PWD\\\"\\]\" \"$PYTHONPATH/sitecustomize.py\"",
        )
        .committed();
    let root = product.root().display().to_string();
    product.iterate(&["--no-agent"]).code(1).says("1 of 2 satisfied");
    product.iterate(&[]).code(0).says("converged");
    let cached = |event: &Value| event["data"]["cached"].clone();
    let prepared: Vec<Value> =
        product.events_named("prepare.finished").iter().map(cached).collect();
    assert_eq!(prepared, [json!(true), json!(true)]);
    let place = product.workspace().join("deps/where");
    assert_eq!(fs::read_to_string(place).unwrap().trim(), root);
    assert!(!product.path("deps").exists());
}

#[test]
fn an_agents_program_in_the_checkout_is_found_by_its_name_and_by_its_path() {
    for by_name in [true, false] {
        let product = product("true", "")
            .executable("bin/helper", "#!/bin/bash\necho two >> words.txt\n")
            .file(".gitignore", "bin/\n");
        let bin = product.path("bin");
        let named =
            if by_name { "helper".to_owned() } else { bin.join("helper").display().to_string() };
        product.write(
            "dark-factory.yaml",
            format!("agent: {{backend: command, command: [{named}]}}\nisolation: {{}}\n"),
        );
        let product = product.committed();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        product.iterate_with(&[], &[("PATH", &path)]).code(0).says("converged");
    }
}

#[test]
fn set_up_commands_see_nothing_of_the_repository_and_make_what_they_are_to() {
    let product = Product::new().file("list", "1\n");
    let root = product.root().display().to_string();
    let product = product
        .config(&format!(
            "isolation: {{}}\nprepare:\n- name: deps\n  \
             run: 'mkdir deps; ls -A {root} > deps/seen 2>/dev/null; cp list deps/; touch $HOME/installed'\n  \
             inputs: [list]\n  outputs: [deps]\n"
        ))
        .scenario("deps", "test -e deps/list && ! grep -xE 'scenarios|artifacts' deps/seen && grep -qx list deps/seen && test -e ~/installed && touch deps/own")
        .committed();
    product.iterate(&["--no-agent"]).code(0).says("1 of 1 satisfied");
}

#[test]
fn set_up_commands_have_the_network_that_the_settings_say() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let reach = format!("(exec 3<>/dev/tcp/127.0.0.1/{port}) 2> /dev/null && touch reached; true");
    let allow = format!("{{prepare: registries, allow: [\"127.0.0.1:{port}\"]}}");
    let by_landlock = "root,user-namespace,bubblewrap,sudo";
    for (network, said, is_reached, without) in [
        ("{}", "the machine's network", true, ""),
        ("{prepare: open}", "the machine's network", true, by_landlock),
        ("{prepare: open}", "the machine's network", true, ALL),
        ("{prepare: none}", "no network", false, ""),
        ("{prepare: none}", "no network", false, by_landlock),
        ("{prepare: none}", "`none`, which the tier `copy` can't hold", true, ALL),
        ("{prepare: registries}", "registries alone", false, ""),
        ("{prepare: registries}", "registries alone", false, by_landlock),
        (&allow, "registries alone", true, ""),
    ] {
        let product = Product::new()
            .config(&format!(
                "isolation: {{}}\nnetwork: {network}\nprepare:\n- {{name: fetch, run: '{reach}'}}\n"
            ))
            .scenario("reached", if is_reached { "test -e reached" } else { "test ! -e reached" })
            .committed();
        let ran = product.iterate_with(&["--no-agent"], &[("DARK_FACTORY_WITHOUT", without)]);
        ran.code(0).says(said);
    }
}

#[test]
fn a_set_up_command_whose_inputs_the_agent_changed_has_registries_alone() {
    let turn = "echo two >> words.txt; echo 2 > deps.lock";
    let deps = "prepare:\n- {name: deps, run: 'cat deps.lock > got', inputs: [deps.lock], outputs: [got]}\n\
                - {name: other, run: 'true', inputs: [other.lock]}\n- {name: any, run: 'true'}\n";
    let had = |network: &str| {
        let product =
            product(turn, &format!("{deps}network: {network}\n")).file("deps.lock", "1\n");
        let product = product.file("other.lock", "1\n").file(".gitignore", "got\n").committed();
        product.iterate(&[]).code(0);
        let had = |event: &Value| event["data"]["network"].as_str().unwrap_or("kept").to_owned();
        product.events_named("prepare.finished").iter().map(had).collect::<Vec<_>>()
    };
    assert_eq!(had("{}"), ["open", "open", "open", "registries", "open", "registries"]);
    assert_eq!(had("{prepare: open}"), ["open"; 6]);
}

#[test]
fn a_set_up_command_that_the_settings_kept_from_a_host_is_told_which() {
    // As a package manager whose registry is none of the usual ones.
    let ask = "exec 3<>/dev/tcp/127.0.0.1/${HTTP_PROXY##*:}; printf \"CONNECT registry.example:443 HTTP/1.1\\r\\n\\r\\n\" >&3; \
               read -r line <&3; echo \"$line\"; exit 7";
    for (level, run, said) in [
        (
            "registries",
            ask,
            "it asked for registry.example:443, and has registries alone; name the host in `network.allow`",
        ),
        (
            "none",
            "echo could not resolve host: registry.example; exit 6",
            "it has no network, since `network.prepare` is `none`",
        ),
    ] {
        let product = Product::new()
            .config(&format!(
                "isolation: {{}}\nnetwork: {{prepare: {level}}}\nprepare:\n- name: fetch\n  run: |\n    {run}\n"
            ))
            .scenario("a", "true")
            .committed();
        product.iterate(&["--no-agent"]).code(3).says(said);
        // What will fail likewise is not tried again.
        assert_eq!(product.events_named("node.started").len(), 2);
    }
}

#[test]
fn what_is_judged_opens_its_streams_by_their_paths() {
    let product = Product::new()
        .config(
            "isolation: {}\ngates: [{name: log, run: 'echo fine > /dev/stderr'}]\nfixtures:\n- name: web\n  \
             start: 'echo up > /dev/stdout; exec sleep 100'\n  ready: {output: up}\n",
        )
        .scenario("a", "echo a > /dev/stdout && echo b > /dev/stderr && echo c | tee /dev/fd/2 | grep c")
        .file("scenarios/b.md", "---\nneeds: [web]\n---\n# B\n\n## Evaluation\n```bash\ntrue\n```\n")
        .committed();
    product.iterate(&["--no-agent"]).code(0).says("2 of 2 satisfied");
}

#[test]
fn a_socket_fits_behind_the_directory_for_temporary_files() {
    let bind = "python3 -c 'import os, socket, tempfile\n\
                socket.socket(socket.AF_UNIX).bind(os.path.join(tempfile.mkdtemp(), \"a\" * 30))'";
    let turn = format!("{bind} && echo two >> words.txt");
    for isolation in ["{}", "{agent: copy, judge: copy}"] {
        let product = product(&turn, "").scenario("socket", bind);
        let config = product.read("dark-factory.yaml");
        product.write(
            "dark-factory.yaml",
            config.replace("isolation: {}", &format!("isolation: {isolation}")),
        );
        let product = product.committed();
        product.iterate(&[]).code(0).says("2 of 2 satisfied");
        let links = fs::read_dir("/tmp").unwrap().flatten();
        let mut targets = links.filter_map(|entry| fs::read_link(entry.path()).ok());
        assert!(!targets.any(|target| target.starts_with(product.base())));
    }
}

#[test]
fn a_state_in_which_nothing_is_executed_is_refused_before_anybody_is_paid() {
    if !rustix::process::getuid().is_root() {
        return; // It takes a mount.
    }
    let product = product("true", "").committed();
    let mounted = |program: &str, args: &str| {
        let state = product.state().display().to_string();
        let script = format!("mount -t tmpfs -o noexec none '{state}' && exec '{program}' {args}");
        product.run("unshare", &["-m", "bash", "-c", &script])
    };
    let ran = mounted(env!("CARGO_BIN_EXE_iterate"), "");
    ran.code(3).says("where the system executes no program (it is mounted `noexec`)");
    mounted(env!("CARGO_BIN_EXE_factory"), "doctor").code(3).says("is mounted `noexec`");
    assert!(product.runs().is_empty());
}

#[test]
fn a_judgement_in_place_can_be_confined_too() {
    let product = Product::new();
    let home = product.base().join("home").display().to_string();
    let product = product
        .scenario("a", &format!("test ! -e {home} && test -d \"$HOME\" && echo made > made"))
        .committed();
    product.run_scenarios(&[]).code(1);
    product.run_scenarios(&["--isolation", "sandbox"]).code(0);
    assert_eq!(product.read("made"), "made\n");
}

#[test]
fn a_login_that_the_agent_holds_is_in_the_receipt_by_its_name_alone() {
    let product = product("echo two >> words.txt", "");
    let config = product.read("dark-factory.yaml");
    let config = config.replace("agent:\n", "agent:\n  env: [MY_API_KEY, MY_MODE, UNSET_TOKEN]\n");
    product.write("dark-factory.yaml", config);
    let product = product.committed();
    let env = [("MY_API_KEY", "sk-do-not-show"), ("MY_MODE", "x")];
    product.iterate_with(&[], &env).code(0);
    let receipt = receipt(&product);
    assert_eq!(receipt["held"], json!(["MY_API_KEY"]));
    assert!(!receipt.to_string().contains("sk-do-not-show"));
}

#[test]
fn an_evaluation_that_is_seen_at_work_is_known_by_its_canary() {
    // Too short to be searched for by its text, and shown by a product that reads its parent's
    // command line, which it can at this tier alone.
    let product = product("tr '\\0' ' ' < product.sh > copy; echo \"$CANARY\" >> words.txt", "");
    let config =
        product.read("dark-factory.yaml").replace("isolation: {}", "isolation: {judge: copy}");
    product.write("dark-factory.yaml", config);
    let product = product
        .file("product.sh", "tr '\\0' '\\n' < /proc/$PPID/cmdline\nexit 1\n")
        .scenario("words", "sh ./product.sh")
        .committed();
    product.iterate(&["--no-agent"]).code(1);
    let told = product.factory(&["show", "--scenario", "words"]).code(0).stdout;
    let at = told.find("canary-").unwrap();
    assert!(told[at..].split_whitespace().next().unwrap().len() > 40, "{told}");
    let feedback = product.factory(&["show", "--feedback"]).code(0).stdout;
    assert!(feedback.contains("[masked]") && !feedback.contains("canary-"), "{feedback}");
}

#[test]
fn the_bash_that_judges_is_out_of_reach_of_what_it_judges() {
    // Opens and reads, of everybody that it sees but itself, what would tell of the exam or decide it.
    let probe = "#!/bin/bash\nshopt -s nullglob\nfor dir in /proc/[0-9]*; do\n  \
                 [ $dir = /proc/$$ ] && continue\n  \
                 tr '\\0' ' ' < $dir/cmdline 2>/dev/null | grep -a SECRET-OF\n  \
                 # Where the machine's processes can be seen, others than those that judge may be open.\n  \
                 [ \"$WHOM\" = parent ] && [ $dir != /proc/$PPID ] && continue\n  \
                 for what in mem environ maps auxv; do (: < $dir/$what) 2>/dev/null && echo \"$dir/$what opens\"; done\n  \
                 (: <> $dir/mem) 2>/dev/null && echo \"$dir/mem opens to be written\"\n  \
                 readlink $dir/fd/* $dir/exe $dir/cwd 2>/dev/null\ndone > seen\ncat seen; test ! -s seen\n";
    let long = format!("# {}\n./probe # SECRET-OF-LONG\n", "x".repeat(130_000));
    let product = Product::new()
        .config("isolation: {}\nenv: [WHOM]\ngates:\n- {name: gate, run: './probe; code=$?; : SECRET-OF-GATE; exit $code'}\n\
                 fixtures:\n- name: made\n  start: './probe; code=$?; : SECRET-OF-FIXTURE; exit $code'\n")
        .executable("probe", probe)
        .scenario("short", "./probe; code=$?\n: SECRET-OF-SHORT\nexit $code")
        .scenario("alone", "./probe # SECRET-OF-ALONE")
        .scenario("long", &long)
        .file("scenarios/needs.md", "---\nneeds: [made]\n---\n# N\n\n## Evaluation\n```bash\n./probe\n```\n")
        // What it is used for still works.
        .scenario("works", "echo x > /dev/stderr; while read -r line; do test \"$line\" = y; done < <(echo y) && (exit 3); test $? = 3 && test \"$0\" = bash && test $# = 0 && case $BASH in */bash) ;; *) exit 1;; esac")
        .scenario("lines", "true\n(no-such-program) 2> said; grep -q '^bash: line 2: no-such-program' said && test -z \"${df_script+x}\"")
        .committed();
    let (parent, all) = ("root,user-namespace,bubblewrap,sudo", "");
    for (without, whom) in
        [(all, "all"), ("hidepid", "all"), ("root,user-namespace", "parent"), (parent, "parent")]
    {
        let env = [("DARK_FACTORY_WITHOUT", without), ("WHOM", whom)];
        let ran = product.iterate_with(&["--no-agent"], &env);
        ran.code(0).says("6 of 6 satisfied");
    }
    // The probe finds it all where nothing is confined.
    let config = product.read("dark-factory.yaml").replace("{}", "{judge: copy}");
    product.write("dark-factory.yaml", config);
    let product = product.committed();
    product.iterate(&["--no-agent"]).code(1).says("gate failed");
}

#[test]
fn an_exam_that_the_product_rewrites_is_judged_as_it_was() {
    // By itself, by its directory, by that above it, and what else is protected.
    let app = "#!/bin/bash\nforged='want() { true; }'\n\
               echo \"$forged\" > exam/deep/support.sh\n\
               rm -f exam/deep/support.sh; echo \"$forged\" > exam/deep/support.sh\n\
               mv exam/deep away; mkdir -p exam/deep; echo \"$forged\" > exam/deep/support.sh\n\
               mv exam gone; mkdir -p exam/deep; echo \"$forged\" > exam/deep/support.sh\n\
               chmod -R u+w specs; echo forged > specs/wanted.txt; echo 1\n";
    let product = Product::new()
        .executable("app", app)
        .file("exam/deep/support.sh", "want() { [ \"$1\" = \"$2\" ]; }\n")
        .file("specs/wanted.txt", "99\n");
    let evaluations = [
        ("a-earlier", "./app; true"),
        ("b-later", ". exam/deep/support.sh && want 1 99"),
        ("c-within", "./app; . exam/deep/support.sh && want 1 99"),
        ("d-specs", "test \"$(./app; cat specs/wanted.txt)\" = 99"),
        ("e-honest", ". exam/deep/support.sh && want 99 \"$(cat specs/wanted.txt)\""),
    ];
    let product = evaluations.iter().fold(product, |product, (id, evaluation)| {
        let text = format!("# {id}\n\n## Evaluation\n```bash\n{evaluation}\n```\n");
        product.file(&format!("exam/deep/{id}.md"), text)
    });
    for (tier, without) in
        [("sandbox", ""), ("sandbox", "root,user-namespace,bubblewrap,sudo"), ("copy", "")]
    {
        let settings =
            format!("scenarios: {{dir: exam/deep}}\nisolation: {{agent: copy, judge: {tier}}}\n");
        product.write("dark-factory.yaml", settings);
        product.commit("Another tier");
        product.iterate_with(&["--no-agent"], &[("DARK_FACTORY_WITHOUT", without)]).code(1);
        let told = |id: &str| product.factory(&["show", "--scenario", id]).stdout;
        for id in ["b-later", "c-within", "d-specs"] {
            assert!(told(id).contains("unsatisfied"), "{tier} {without} {id}: {}", told(id));
        }
        assert!(told("e-honest").contains(" satisfied"), "{tier} {without}: {}", told("e-honest"));
        let within =
            told("c-within").contains("was changed, made or removed while this was judged");
        assert_eq!(within, tier == "copy" || !without.is_empty(), "{}", told("c-within"));
    }
}

#[test]
fn a_stop_command_ends_what_its_fixture_is_by_number() {
    let product = Product::new()
        .config(
            "isolation: {}\nfixtures:\n- name: server\n  \
             start: 'echo $$ > $FACTORY_DIR_SERVER/pid; trap \"echo asked > stopped; exit 0\" INT; \
             touch up; while :; do sleep 0.02; done'\n  \
             ready: {command: 'test -e up && kill -0 $(cat $FACTORY_DIR_SERVER/pid)'}\n  \
             stop: kill -INT $(cat $FACTORY_DIR_SERVER/pid)\n",
        )
        .file(
            "scenarios/a.md",
            "---\nneeds: [server]\n---\n# A\n\n## Evaluation\n```bash\ntest -e up\n```\n",
        )
        .committed();
    product.iterate(&["--no-agent"]).code(0).says("1 of 1 satisfied");
    assert_eq!(fs::read_to_string(product.run_state().join("judge/stopped")).unwrap(), "asked\n");
    product.assert_nothing_alive();
}

#[test]
fn a_login_of_the_persons_home_is_readable_turn_after_turn() {
    let product = product(
        "cat ~/.agent/login ~/.keys/one > seen.txt; echo again >> turns.txt\n\
         test $(wc -l < turns.txt) = 1 || echo two >> words.txt",
        "",
    );
    for file in [".agent/login", ".keys/one"] {
        let path = product.base().join("home").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("{file}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let config = product.read("dark-factory.yaml");
    let config = config.replace("agent:\n", "agent:\n  home: [.agent/login, .keys]\n");
    product.write("dark-factory.yaml", config);
    let product = product.committed();
    product.iterate(&[]).code(0).says("converged");
    let seen = product.git(&["show", &format!("{}:seen.txt", product.branch())]);
    assert_eq!(seen, ".agent/login\n.keys/one");
    assert_eq!(receipt(&product)["held"], json!([".agent/login", ".keys"]));
}
