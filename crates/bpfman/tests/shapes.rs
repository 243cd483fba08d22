//! What commands print, and what a load keeps.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::Via;
use common::World;
use common::bpftool;
use common::id;
use common::map_id;
use common::net::Net;
use common::object;
use serde_json::Value;

both_ways!(
    milestone_3_load_records_and_list_prints,
    list_all_shows_what_bpftool_shows_and_marks_ours,
    objects_of_other_loaders_load_when_the_type_is_declared,
    a_broken_sibling_does_not_matter,
    a_map_that_differs_from_its_owner_is_not_taken,
    instructions_are_kept_with_their_maps_by_name,
);

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

fn words(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    words.sort_unstable();
    words
}

fn milestone_3_load_records_and_list_prints(world: &World) {
    let program = world
        .load("trace_exec.bpf.o", "tracepoint:trace_exec", &[])
        .remove(0);
    let store = rusqlite::Connection::open(world.database()).unwrap();
    let row = |sql: &str| -> (i64, String) {
        store
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
    };
    let number = i64::try_from(id(&program)).unwrap();
    let pin = program["record"]["handles"]["pin_path"].as_str().unwrap();
    assert_eq!(
        row("SELECT kernel_id, pinned_path FROM programs"),
        (number, pin.to_owned())
    );
    let map = i64::try_from(map_id(&program, "exec_count")).unwrap();
    assert_eq!(
        row("SELECT kernel_id, name FROM maps"),
        (map, "exec_count".to_owned())
    );
    let listed = world.ok(&["list"]);
    let line = listed
        .lines()
        .find(|line| line.starts_with(&number.to_string()))
        .unwrap();
    assert_eq!(
        words(line),
        words(&format!("{number} tracepoint trace_exec none"))
    );
}

fn list_all_shows_what_bpftool_shows_and_marks_ours(world: &World) {
    let ours = id(&world
        .load("trace_exec.bpf.o", "tracepoint:trace_exec", &[])
        .remove(0));
    let ids = |value: &Value, key: &str| -> Vec<u64> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row[key].as_u64().unwrap())
            .collect()
    };
    // Other tests load and unload meanwhile: what bpftool saw before and after must be in between.
    let before = ids(&bpftool(&["prog", "list"]).unwrap(), "id");
    let rows = world.json(&["list", "--all"])["programs"].clone();
    let after = ids(&bpftool(&["prog", "list"]).unwrap(), "id");
    let seen = ids(&rows, "program_id");
    for steady in before.iter().filter(|id| after.contains(id)) {
        assert!(seen.contains(steady), "program {steady} is missing");
    }
    let managed = |row: &&Value| row["managed"] == true;
    let marked: Vec<&Value> = rows.as_array().unwrap().iter().filter(managed).collect();
    assert_eq!(marked.len(), 1);
    assert_eq!(marked[0]["program_id"], ours);
}

fn objects_of_other_loaders_load_when_the_type_is_declared(world: &World) {
    let table = [
        ("tc:classifier_x", "schedcls"),
        ("tc:action_plain", "schedcls"),
        ("kprobe:kprobe_bare", "kprobe"),
        ("kretprobe:kprobe_bare", "kprobe"),
        ("tracepoint:tracepoint_bare", "tracepoint"),
        ("uretprobe:uprobe_foreign", "kprobe"),
        ("xdp:xdp_foreign", "xdp"),
        ("socket_filter:socket_foreign", "socketfilter"),
        ("xdp:unknown_section", "xdp"),
    ];
    for (declared, kernel_type) in table {
        let program = world.load("foreign.bpf.o", declared, &[]).remove(0);
        let (declared_type, _) = declared.split_once(':').unwrap();
        assert_eq!(program["record"]["load"]["program_type"], declared_type);
        assert_eq!(
            program["status"]["kernel"]["program_type"], kernel_type,
            "{declared}"
        );
    }
}

fn a_broken_sibling_does_not_matter(world: &World) {
    let path = object("maps.bpf.o");
    world.load("maps.bpf.o", "tracepoint:first", &[]);
    let broken = ["program", "load", &path, "--programs", "tracepoint:broken"];
    world.refused(&broken, 1, &["invalid mem access"]);
    assert_eq!(world.ids(&[]).len(), 1);
}

fn a_map_that_differs_from_its_owner_is_not_taken(world: &World) {
    let owner = world
        .load("map_owner.bpf.o", "tracepoint:owner", &[])
        .remove(0);
    let path = object("map_user_mismatch.bpf.o");
    let number = id(&owner).to_string();
    let args = [
        "program",
        "load",
        &path,
        "--programs",
        "tracepoint:mismatch",
        "--map-owner-id",
        &number,
    ];
    world.refused(&args, 1, &["flows"]);
}

fn instructions_are_kept_with_their_maps_by_name(world: &World) {
    let programs = world.load("xdp_chain.bpf.o", "xdp:xdp_refs,tc:tc_refs", &[]);
    for program in &programs {
        let directory = world
            .runtime()
            .join("programs")
            .join(id(program).to_string());
        let kept: Value =
            serde_json::from_slice(&std::fs::read(directory.join("instructions.json")).unwrap())
                .unwrap();
        assert_eq!(kept["version"], 2);
        assert_eq!(kept["program"], program["record"]["load"]["program_name"]);
        let references = kept["references"].as_array().unwrap();
        let names: Vec<&str> = references
            .iter()
            .map(|reference| reference["map"].as_str().unwrap())
            .collect();
        assert!(names.contains(&"chain_hits"), "{names:?}");
        // 8 bytes an instruction are 32 base64 digits for every 3 instructions.
        let digits = kept["instructions"].as_str().unwrap().len();
        let last = references.last().unwrap()["instruction"].as_u64().unwrap();
        assert!(
            digits as u64 * 3 / 4 >= (last + 1) * 8,
            "{digits} digits, reference at {last}"
        );
    }
}

#[test]
fn json_has_every_key_of_the_contract() {
    let world = World::new(Via::InProcess);
    let program = world
        .load(
            "trace_exec.bpf.o",
            "tracepoint:trace_exec",
            &["-a", "app", "-m", "k=v"],
        )
        .remove(0);
    let got = world.json(&["get", &id(&program).to_string()]);
    assert_eq!(got, program, "load and get print the same");
    let table = [
        ("", "record status"),
        (
            "/record",
            "program_id load license gpl_compatible handles meta created_at updated_at",
        ),
        (
            "/record/load",
            "object_path source_path program_name program_type global_data map_sizes image_source attach_func map_owner_id engine",
        ),
        ("/record/handles", "pin_path map_pin_path map_owner_id"),
        ("/record/meta", "name owner description metadata"),
        (
            "/status",
            "kernel stats prog_pin map_dir bytecode prog_pin_present map_dir_present bytecode_present links maps map_used_by",
        ),
        (
            "/status/kernel",
            "id name program_type tag loaded_at uid has_uid btf_id has_btf_id map_ids has_map_ids jited_size xlated_size verified_insns memlock has_memlock restricted",
        ),
        (
            "/status/maps/0",
            "id name object_name map_type key_size value_size max_entries flags btf_id has_btf_id map_extra has_map_extra memlock has_memlock frozen pin_path present",
        ),
    ];
    for (pointer, expected) in table {
        assert_eq!(
            keys(got.pointer(pointer).unwrap()),
            words(expected),
            "{pointer}"
        );
    }
    let rows = world.json(&["list"]);
    let expected =
        words("program_id managed application type function_name links places record kernel");
    assert_eq!(keys(&rows["programs"][0]), expected);
    assert_eq!(rows["programs"][0]["application"], "app");
    let seen = bpftool(&["prog", "show", "id", &id(&program).to_string()]).unwrap();
    let kernel = &got["status"]["kernel"];
    for (ours, theirs) in [
        ("xlated_size", "bytes_xlated"),
        ("jited_size", "bytes_jited"),
        ("memlock", "bytes_memlock"),
        ("map_ids", "map_ids"),
        ("btf_id", "btf_id"),
    ] {
        assert_eq!(kernel[ours], seen[theirs], "{ours}");
    }
}

/// Loads three programs and attaches them to one XDP hook; their ids.
fn chain(world: &World, net: &Net) -> Vec<String> {
    let programs = world.load("traffic.bpf.o", "xdp:xdp_1,xdp:xdp_2", &[]);
    let ids: Vec<String> = programs
        .iter()
        .map(|program| id(program).to_string())
        .collect();
    for (program, priority, more) in [
        (&ids[0], "50", &["-m", "a=b"][..]),
        (&ids[1], "50", &["--proceed-on", "drop"]),
        (&ids[0], "49", &["--stats"]),
    ] {
        let place = ["veth0", "-p", priority, "-n", &net.near];
        world.ok(&[&["link", "attach", "xdp", program], &place[..], more].concat());
    }
    ids
}

const LINK_SHAPE: [(&str, &str); 3] = [
    ("", "record status"),
    (
        "/record",
        "id program_id kernel_link_id kind pin_path details created_at metadata",
    ),
    ("/status", "kernel kernel_seen pin_present stats"),
];

fn assert_shape(value: &Value, table: &[(&str, &str)]) {
    for (pointer, expected) in table {
        let part = value.pointer(pointer).unwrap();
        assert_eq!(keys(part), words(expected), "{pointer}");
    }
}

#[test]
fn dispatchers_and_their_links_have_every_key_of_the_contract() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    chain(&world, &net);
    let runtime = "program_id kernel_link_id filter_priority filter_handle netns_path";
    let list = world.json(&["dispatcher", "list"]);
    assert_shape(
        &list,
        &[
            ("", "dispatchers"),
            (
                "/dispatchers/0",
                "key revision engine standing runtime member_count",
            ),
            ("/dispatchers/0/key", "type nsid ifindex"),
            ("/dispatchers/0/runtime", runtime),
        ],
    );
    let key = &list["dispatchers"][0]["key"];
    let (nsid, ifindex) = (key["nsid"].to_string(), key["ifindex"].to_string());
    let got = world.json(&["dispatcher", "get", "xdp", &nsid, &ifindex]);
    assert_shape(
        &got,
        &[
            (
                "",
                "key revision engine standing runtime members shared_tail_calls",
            ),
            ("/runtime", runtime),
            (
                "/members/0",
                "program_id program_name prog_pin_path link_id kernel_link_id link_pin_path position \
                 priority proceed_on ifname metadata",
            ),
        ],
    );
    assert_eq!(got["runtime"], list["dispatchers"][0]["runtime"]);
    assert_eq!(got["revision"], 3);
    // New before existing, then by name.
    let links: Vec<&Value> = (0..3).map(|at| &got["members"][at]["link_id"]).collect();
    assert_eq!(links, [3, 1, 2]);
    assert_eq!(got["members"][0]["proceed_on"], 0x8000_0004_u32);
    assert_eq!(got["members"][0]["metadata"], Value::Null);
    assert_eq!(got["members"][1]["metadata"]["a"], "b");
    assert_eq!(got["members"][2]["proceed_on"], 0b10);
    let updated = world.json(&["link", "update", "3", "-p", "60"]);
    assert_shape(&updated, &LINK_SHAPE);
    assert_shape(
        &updated,
        &[
            (
                "/record/details",
                "interface ifindex current netns nsid priority proceed_on mode counter position dispatcher_id revision",
            ),
            ("/status/stats", "run_count runtime"),
        ],
    );
}

/// Packets may come at any time, and are counted.
fn without_runs(program: &Value) -> Value {
    let mut program = program.clone();
    for link in program["status"]["links"].as_array_mut().unwrap() {
        link["status"]["stats"] = Value::Null;
    }
    program
}

#[test]
fn a_replacement_is_printed_as_get_prints_it() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let programs = chain(&world, &net);
    let path = object("traffic.bpf.o");
    let mut new = world.json(&["program", "replace", &programs[0], &path]);
    let ids = new.as_object_mut().unwrap().remove("replaced").unwrap();
    let maps = new.as_object_mut().unwrap().remove("maps_anew").unwrap();
    // Its variables: they come with each load.
    assert_eq!(maps[0]["name"], ".bss");
    assert_eq!(
        keys(&maps[0]),
        words("name old_map_id new_map_id changes kept_by")
    );
    assert_eq!(keys(&ids), words("old_program_id new_program_id"));
    assert_shape(
        &new,
        &[("", "record status"), ("/status/links/0", LINK_SHAPE[0].1)],
    );
    let shown = world.json(&["get", &id(&new).to_string()]);
    assert_eq!(without_runs(&new), without_runs(&shown));
    assert_eq!(new["status"]["links"].as_array().unwrap().len(), 2);
}

#[test]
fn places_of_links_that_run_together_are_listed() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let programs = chain(&world, &net);
    let rows = world.json(&["list"]);
    assert_eq!(rows["programs"][0]["links"], serde_json::json!([1, 3]));
    assert_eq!(
        rows["programs"][0]["places"],
        serde_json::json!([
            {"link_id": 1, "position": 1, "of": 3},
            {"link_id": 3, "position": 0, "of": 3},
        ])
    );
    let line = world.ok(&["list"]);
    let line = line.lines().find(|line| line.starts_with(&programs[0]));
    let line = line.unwrap();
    assert!(line.ends_with("1 (2/3), 3 (1/3)"), "{line}");
    world.ok(&["detach", "2", "3"]);
    assert_eq!(
        world.json(&["list"])["programs"][0]["places"],
        serde_json::json!([])
    );
}

#[test]
fn tables_of_dispatchers_fit_a_terminal() {
    const COLUMNS: usize = 80;
    let world = World::new(Via::InProcess);
    let net = Net::new();
    chain(&world, &net);
    let list = world.ok(&["dispatcher"]);
    let mut lines = list.lines();
    assert_eq!(
        lines.next().unwrap().split_whitespace().collect::<Vec<_>>(),
        [
            "TYPE",
            "NSID",
            "IFINDEX",
            "INTERFACE",
            "ENGINE",
            "PROGRAM",
            "MEMBERS"
        ]
    );
    let row: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let shown = world.ok(&["dispatcher", "get", "xdp", row[1], row[2]]);
    let table: Vec<&str> = shown
        .lines()
        .skip_while(|line| !line.is_empty())
        .skip(1)
        .collect();
    assert_eq!(table.len(), 4, "{shown}");
    assert!(table[0].starts_with("PLACE  LINK ID"), "{shown}");
    assert!(
        table[3].starts_with("3/3    2") && table[3].ends_with("drop"),
        "{shown}"
    );
    for line in list.lines().chain(table) {
        assert!(line.len() <= COLUMNS, "{line}");
    }
}

#[test]
fn yaml_says_what_json_says() {
    let world = World::new(Via::InProcess);
    let program = world
        .load("trace_exec.bpf.o", "tracepoint:trace_exec", &[])
        .remove(0);
    let yaml = world.ok(&["get", &id(&program).to_string(), "-o", "yaml"]);
    let read: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(read, program);
}
