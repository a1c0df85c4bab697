//! One address in front of all gateways. Every connection goes to the next of them that takes it.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

/// Passes connections on until it is dropped; those that are open then go on.
pub(crate) async fn run(listener: TcpListener, gateways: Vec<u16>) {
    let mut turn = 0;
    loop {
        let Ok((near, _)) = listener.accept().await else { return };
        let order: Vec<u16> =
            gateways.iter().cycle().skip(turn).take(gateways.len()).copied().collect();
        turn = (turn + 1) % gateways.len().max(1);
        tokio::spawn(pass(near, order));
    }
}

async fn pass(mut near: TcpStream, gateways: Vec<u16>) {
    for port in gateways {
        let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
        let _ = near.set_nodelay(true);
        let _ = far.set_nodelay(true);
        // When one side breaks, both are dropped.
        let _ = copy_bidirectional(&mut near, &mut far).await;
        return;
    }
}
