//! Programs at the hooks of the network and of cgroups count, refuse, redirect and drop.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::Via;
use common::World;
use common::cgroup::Cgroup;
use common::kernel::Loaded;
use common::net::Net;
use common::run;
use common::stderr;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use libbpf_rs::MapHandle;
use rustix::thread::LinkNameSpaceType;
use rustix::thread::move_into_link_name_space;

/// The port that the programs of `hooks.bpf.c` look for.
const PORT: u16 = 7777;
/// How long a test waits for what must not come.
const SHORT: Duration = Duration::from_millis(500);

/// `Err` is what the kernel lacks.
type Possible = Result<(), String>;

where_the_kernel_can!(
    a_cgroup_counts_the_packets_of_its_own_processes,
    a_cgroup_refuses_connections_until_the_program_is_detached,
    a_socket_lookup_finds_the_socket_of_another_port,
    a_netfilter_program_drops_packets_until_it_is_detached,
    netfilter_programs_run_in_the_order_of_their_priorities,
    a_message_is_refused_on_its_way_out_of_a_socket,
    a_stream_meets_its_program_on_the_way_into_a_socket,
    a_datagram_meets_its_program_on_the_way_into_a_socket,
    a_flow_dissector_looks_at_the_packets_of_its_namespace,
    a_netkit_device_and_its_peer_count_their_packets,
    xdp_runs_in_the_generic_mode,
    xdp_runs_in_the_driver,
);

fn load(world: &World, program: &str) -> Result<Loaded, String> {
    world.try_load("hooks.bpf.o", program, &[])
}

fn runs(program: &Loaded, number: usize) -> u64 {
    program.number("runs", number)
}

/// The numbers of the programs that ran, in order.
fn sequence(program: &Loaded) -> u64 {
    let dump = program.map(".bss");
    let value = &dump[0]["formatted"]["value"][".bss"][0]["sequence"];
    value.as_u64().unwrap()
}

/// Does something in a network namespace.
fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    let entered = || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        work()
    };
    thread::scope(|scope| scope.spawn(entered).join().unwrap())
}

fn ip(args: &[&str]) {
    run(Command::new("ip").args(args));
}

fn a_cgroup_counts_the_packets_of_its_own_processes(world: &World) -> Possible {
    let cgroup = Cgroup::new();
    let program = load(world, "cgroup_skb:count_cgroup")?;
    let words = ["cgroup", &cgroup.text(), "--direction", "egress"];
    let link = world.try_attach(&program, &words)?;
    let send = "for i in 1 2 3; do echo > /dev/udp/127.0.0.1/7777 || exit 1; done";
    assert!(cgroup.bash(send));
    assert_eq!(runs(&program, 1), 3);
    run(Command::new("bash").args(["-c", send]));
    assert_eq!(runs(&program, 1), 3);
    world.detach(&link);
    assert!(cgroup.bash(send));
    assert_eq!(runs(&program, 1), 3);
    world.unload(&[&program]);
    Ok(())
}

fn a_cgroup_refuses_connections_until_the_program_is_detached(world: &World) -> Possible {
    let cgroup = Cgroup::new();
    let net = Net::new();
    let program = load(world, "cgroup_connect4:refuse_connect")?;
    let _listener = inside(&net.far, || TcpListener::bind(("10.9.0.2", PORT)).unwrap());
    let connect = format!(
        "exec ip netns exec {} bash -c ': > /dev/tcp/10.9.0.2/{PORT}'",
        net.near
    );
    assert!(cgroup.bash(&connect));
    let link = world.try_attach(&program, &["cgroup", &cgroup.text()])?;
    assert!(!cgroup.bash(&connect));
    assert_eq!(runs(&program, 1), 1);
    inside(&net.near, || {
        TcpStream::connect(("10.9.0.2", PORT)).unwrap()
    });
    world.detach(&link);
    assert!(cgroup.bash(&connect));
    assert_eq!(runs(&program, 1), 1);
    world.unload(&[&program]);
    Ok(())
}

/// Puts a socket into a map under key 0.
fn put_socket(program: &Loaded, map: &str, socket: &impl AsRawFd) {
    let map = MapHandle::from_pinned_path(program.map_pin(map)).unwrap();
    let number = u64::from(socket.as_raw_fd().cast_unsigned());
    map.update(&0_u32.to_ne_bytes(), &number.to_ne_bytes(), MapFlags::ANY)
        .unwrap();
}

fn a_socket_lookup_finds_the_socket_of_another_port(world: &World) -> Possible {
    let net = Net::new();
    let program = load(world, "sk_lookup:redirect")?;
    let listener = inside(&net.near, || TcpListener::bind(("10.9.0.1", 8888)).unwrap());
    put_socket(&program, "sockets", &listener);
    let connect = || inside(&net.far, || TcpStream::connect(("10.9.0.1", PORT)));
    assert!(connect().is_err());
    let link = world.try_attach(&program, &["sk_lookup", "-n", &net.near])?;
    let stream = connect().unwrap();
    let (_, peer) = listener.accept().unwrap();
    assert_eq!(peer, stream.local_addr().unwrap());
    assert_eq!(runs(&program, 1), 1);
    world.detach(&link);
    assert!(connect().is_err());
    assert_eq!(runs(&program, 1), 1);
    world.unload(&[&program]);
    Ok(())
}

/// A socket that packets of `Net::send_in` reach.
fn receiver(net: &Net) -> UdpSocket {
    let socket = inside(&net.near, || UdpSocket::bind(("10.9.0.1", PORT)).unwrap());
    socket.set_read_timeout(Some(SHORT)).unwrap();
    socket
}

/// Whether a packet that is sent arrives.
fn arrives(net: &Net, socket: &UdpSocket) -> bool {
    net.send_in(1);
    socket.recv(&mut [0; 100]).is_ok()
}

fn netfilter<'a>(net: &'a Net, priority: &'a str) -> [&'a str; 7] {
    [
        "netfilter",
        "ipv4",
        "local_in",
        "-p",
        priority,
        "-n",
        &net.near,
    ]
}

fn a_netfilter_program_drops_packets_until_it_is_detached(world: &World) -> Possible {
    let net = Net::new();
    let program = load(world, "netfilter:netfilter_2")?;
    let socket = receiver(&net);
    assert!(arrives(&net, &socket));
    let link = world.try_attach(&program, &netfilter(&net, "-100"))?;
    assert!(!arrives(&net, &socket));
    assert_eq!(runs(&program, 2), 1);
    world.detach(&link);
    assert!(arrives(&net, &socket));
    assert_eq!(runs(&program, 2), 1);
    world.unload(&[&program]);
    Ok(())
}

fn netfilter_programs_run_in_the_order_of_their_priorities(world: &World) -> Possible {
    let net = Net::new();
    let programs = "netfilter:netfilter_2,netfilter:netfilter_1";
    let loaded = world.try_load_all("hooks.bpf.o", programs, &[])?;
    let [dropping, counting] = &loaded[..] else {
        panic!("two programs are asked for");
    };
    let last = world.try_attach(dropping, &netfilter(&net, "20"))?;
    let first = world.try_attach(counting, &netfilter(&net, "-20"))?;
    net.send_in(1);
    assert_eq!(sequence(dropping), 12);
    world.detach(&first);
    let first = world.try_attach(counting, &netfilter(&net, "30"))?;
    net.send_in(1);
    assert_eq!(sequence(dropping), 122);
    world.detach(&first);
    world.detach(&last);
    world.unload(&[dropping, counting]);
    Ok(())
}

/// Two ends of a connection.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    (near, far)
}

fn a_message_is_refused_on_its_way_out_of_a_socket(world: &World) -> Possible {
    let program = load(world, "sk_msg:refuse_msg")?;
    let map = program.map_pin("hashed_sockets");
    let link = world.try_attach(&program, &["sockmap", &map])?;
    let (mut near, _far) = connection();
    put_socket(&program, "hashed_sockets", &near);
    let refused = near.write(b"hello").unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(runs(&program, 1), 1);
    world.detach(&link);
    let (mut near, mut far) = connection();
    put_socket(&program, "hashed_sockets", &near);
    near.write_all(b"hello").unwrap();
    far.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(runs(&program, 1), 1);
    world.unload(&[&program]);
    Ok(())
}

fn a_stream_meets_its_program_on_the_way_into_a_socket(world: &World) -> Possible {
    let program = load(world, "sk_skb_stream_verdict:count_stream")?;
    let link = world.try_attach(&program, &["sockmap", &program.map_pin("sockets")])?;
    let (mut near, mut far) = connection();
    put_socket(&program, "sockets", &far);
    near.write_all(b"hello").unwrap();
    far.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(runs(&program, 1), 1);
    world.detach(&link);
    let (mut near, mut far) = connection();
    put_socket(&program, "sockets", &far);
    near.write_all(b"hello").unwrap();
    far.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(runs(&program, 1), 1);
    world.unload(&[&program]);
    Ok(())
}

fn a_datagram_meets_its_program_on_the_way_into_a_socket(world: &World) -> Possible {
    let program = load(world, "sk_skb_verdict:count_verdict")?;
    let link = world.try_attach(&program, &["sockmap", &program.map_pin("sockets")])?;
    let exchange = || {
        let far = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let near = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        // Only connected sockets may be in the map.
        near.connect(far.local_addr().unwrap()).unwrap();
        far.connect(near.local_addr().unwrap()).unwrap();
        far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        put_socket(&program, "sockets", &far);
        near.send(b"hello").unwrap();
        far.recv(&mut [0; 5]).unwrap()
    };
    assert_eq!(exchange(), 5);
    assert_eq!(runs(&program, 1), 1);
    world.detach(&link);
    assert_eq!(exchange(), 5);
    assert_eq!(runs(&program, 1), 1);
    world.unload(&[&program]);
    Ok(())
}

fn a_flow_dissector_looks_at_the_packets_of_its_namespace(world: &World) -> Possible {
    let net = Net::new();
    let program = load(world, "flow_dissector:count_flow")?;
    // A rule with ports makes the kernel dissect each packet before it is routed.
    let rule = ["ipproto", "udp", "dport", "7777", "lookup", "main"];
    ip(&[&["-n", &net.near, "rule", "add"], &rule[..]].concat());
    let link = world.try_attach(&program, &["flow_dissector", "-n", &net.near])?;
    net.send_in(3);
    // The kernel may ask more than once for one packet.
    let seen = runs(&program, 1);
    assert!(seen >= 3, "{seen}");
    world.detach(&link);
    net.send_in(3);
    assert_eq!(runs(&program, 1), seen);
    world.unload(&[&program]);
    Ok(())
}

/// Joins the two namespaces with a netkit pair, `primary0` in the near one. The kernel names its peer: older tools than
/// the devices cannot.
fn add_netkit(net: &Net) -> Possible {
    let add = ["link", "add", "primary0", "type", "netkit"];
    let made = Command::new("ip")
        .args(["-n", &net.near])
        .args(add)
        .output();
    let made = made.unwrap();
    if !made.status.success() {
        return Err(format!("no netkit devices: {}", stderr(&made).trim()));
    }
    ip(&["-n", &net.near, "link", "set", "nk0", "netns", &net.far]);
    for (namespace, device, address) in [
        (&net.near, "primary0", "10.8.0.1/24"),
        (&net.far, "nk0", "10.8.0.2/24"),
    ] {
        ip(&["-n", namespace, "addr", "add", address, "dev", device]);
        ip(&["-n", namespace, "link", "set", device, "up"]);
    }
    Ok(())
}

fn a_netkit_device_and_its_peer_count_their_packets(world: &World) -> Possible {
    let net = Net::new();
    add_netkit(&net)?;
    let primary = load(world, "netkit_primary:netkit_primary")?;
    let peer = load(world, "netkit_peer:netkit_peer")?;
    let words = ["netkit", "primary0", "-n", &net.near];
    let veth = ["attach", "netkit", &primary.id, "veth0", "-n", &net.near];
    world.refused(&veth, 1, &["is no netkit device"]);
    let links = [
        world.try_attach(&primary, &words)?,
        world.try_attach(&peer, &words)?,
    ];
    let send = |namespace: &str, to: &str| {
        inside(namespace, || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"hello", (to, PORT)).unwrap();
        });
    };
    let counts = || [runs(&primary, 1), runs(&peer, 2)];
    send(&net.near, "10.8.0.2");
    assert_eq!(counts(), [1, 0]);
    send(&net.far, "10.8.0.1");
    send(&net.far, "10.8.0.1");
    assert_eq!(counts(), [1, 2]);
    for link in &links {
        world.detach(link);
    }
    send(&net.near, "10.8.0.2");
    send(&net.far, "10.8.0.1");
    assert_eq!(counts(), [1, 2]);
    world.unload(&[&primary, &peer]);
    Ok(())
}

/// How `ip link` names the mode of the XDP program of the near interface.
fn xdp_mode(net: &Net) -> Option<u64> {
    let mut ip = Command::new("ip");
    let shown = ip.args(["-j", "-n", &net.near, "link", "show", "veth0"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.output().unwrap().stdout).unwrap();
    shown[0]["xdp"]["mode"].as_u64()
}

fn xdp_in_mode(world: &World, mode: &str, number: u64) -> Possible {
    let net = Net::new();
    let program = world.try_load("traffic.bpf.o", "xdp:xdp_1", &[])?;
    let near = net.near.as_str();
    let words = ["xdp", "veth0", "-p", "1", "-n", near, "--mode", mode];
    let link = world.try_attach(&program, &words)?;
    assert_eq!(xdp_mode(&net), Some(number));
    net.send_in(3);
    assert_eq!(runs(&program, 1), 3);
    world.detach(&link);
    assert_eq!(xdp_mode(&net), None);
    net.send_in(3);
    assert_eq!(runs(&program, 1), 3);
    world.unload(&[&program]);
    Ok(())
}

/// `XDP_ATTACHED_SKB` of `linux/if_link.h`.
fn xdp_runs_in_the_generic_mode(world: &World) -> Possible {
    xdp_in_mode(world, "generic", 2)
}

/// `XDP_ATTACHED_DRV` of `linux/if_link.h`.
fn xdp_runs_in_the_driver(world: &World) -> Possible {
    xdp_in_mode(world, "native", 1)
}

/// Is refused with this code, and these are the words.
fn refused(program: &str, words: &[&str], code: i32, expected: &[&str]) -> Possible {
    let world = World::new(Via::InProcess);
    let program = load(&world, program)?;
    let head = ["link", "attach", words[0], &program.id];
    world.refused(&[&head, &words[1..]].concat(), code, expected);
    world.unload(&[&program]);
    Ok(())
}

#[test]
fn a_directory_that_is_no_cgroup_is_refused() {
    let program = "cgroup_connect4:refuse_connect";
    let file = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let file = file.path().to_str().unwrap();
    for (path, code, expected) in [
        ("/tmp", 2, "/tmp is not a cgroup"),
        (file, 2, "is not a cgroup"),
        ("/tmp/no-such-cgroup", 3, "/tmp/no-such-cgroup"),
    ] {
        bpfman_testing::requires!(refused(program, &["cgroup", path], code, &[expected]));
    }
}

#[test]
fn a_cgroup_program_for_both_directions_must_be_told_one() {
    let cgroup = Cgroup::new();
    let words = ["cgroup", &cgroup.text()];
    let expected = ["--direction ingress", "--direction egress"];
    bpfman_testing::requires!(refused("cgroup_skb:count_cgroup", &words, 2, &expected));
}

#[test]
fn a_namespace_that_is_none_is_refused() {
    let file = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let file = file.path().to_str().unwrap();
    let program = "sk_lookup:redirect";
    let words = ["sk_lookup", "-n", file];
    let expected = ["is not a network namespace"];
    bpfman_testing::requires!(refused(program, &words, 2, &expected));
    let words = ["sk_lookup", "-n", "no-such-namespace"];
    bpfman_testing::requires!(refused(program, &words, 3, &["no-such-namespace"]));
}

#[test]
fn a_wrong_interface_is_answered_with_the_right_one() {
    let world = World::new(Via::InProcess);
    let net = Net::new();
    let program = world.load("traffic.bpf.o", "xdp:xdp_1", &[]);
    let number = common::id(&program[0]).to_string();
    let place = ["vteh0", "-p", "1", "-n", &net.near];
    let args = [&["link", "attach", "xdp", &number], &place[..]].concat();
    let expected = ["interface vteh0 does not exist", "did you mean veth0"];
    world.refused(&args, 3, &expected);
}

#[test]
fn a_map_that_is_not_there_or_holds_no_sockets_is_refused() {
    let program = "sk_msg:refuse_msg";
    let nowhere = ["sockmap", "/tmp/no-such-map"];
    bpfman_testing::requires!(refused(program, &nowhere, 3, &["is not the pin of a map"]));
}
