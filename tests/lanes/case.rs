//! A case: what a client sends, and what the origin answers. Nothing in it depends on who stands between them.
//!
//! ```text
//! seed ──► requests (pieces of bytes, and when they are sent)  ─┐
//!     └──► replies  (steps of the origin, one list a request)  ─┴─► Case ──► played on each lane
//! ```

/// Which address the client comes from: the file trusts one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Stranger,
    TrustedProxy,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub client: Client,
    pub pieces: Vec<Piece>,
    /// How many answers that are no interim ones end it. Fewer come where the connection ends.
    pub answers: usize,
    pub ending: Ending,
    /// By the order in which requests arrive; the last one serves for all that follow.
    pub replies: Vec<Reply>,
    pub afterwards: Afterwards,
    pub pool: Pool,
    pub pace: Pace,
}

/// What the client sends at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub bytes: Vec<u8>,
    pub when: When,
}

/// When a piece is sent, if silence does not come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Behind the piece before it, in a write of its own.
    AtOnce,
    /// An interim answer has come behind so many final ones: what belongs to the request's body may go.
    AfterInterim(usize),
    /// The protocol has been switched: what belongs to the other protocol may go.
    AfterSwitch,
    /// So many final answers have come.
    AfterAnswers(usize),
}

/// What the client does when it has sent everything and nothing happens any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Waits,
    /// It says that it sends no more, and listens.
    HalfCloses,
    Leaves,
}

/// Whether the connection's state is asked about at the end of the case, by one more request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The next case shows it.
    NotAsked,
    Asked,
}

/// Which connections Weir may have to the origin when the case begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    AsItIs,
    /// None. How often a request is tried depends on whether a connection that breaks had been used before, and what the lanes keep of
    /// odd cases is theirs to choose.
    Empty,
}

/// How long silence lasts before it means that somebody waits for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Quick,
    /// A timeout of Weir's is part of the case.
    Patient,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub begins: Begins,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    AtHead,
    AtEnd,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Send(Vec<u8>),
    /// What follows goes out in a segment of its own.
    Breath,
    /// So many bytes of whatever follows a request that has been answered with 101.
    AwaitTunnelled(usize),
    Close,
    /// Nothing has been sent before it: what a reset overtakes is lost, or not.
    Reset,
}

impl Reply {
    pub fn send(bytes: impl Into<Vec<u8>>) -> Reply {
        Reply { begins: Begins::AtEnd, steps: vec![Step::Send(bytes.into())] }
    }
}

impl Case {
    /// One request, sent at once, and one answer, sent when it is whole: what most known differences come down to.
    pub fn plain(request: impl Into<Vec<u8>>, reply: impl Into<Vec<u8>>) -> Case {
        Case {
            client: Client::Stranger,
            pieces: vec![Piece { bytes: request.into(), when: When::AtOnce }],
            answers: 1,
            ending: Ending::Waits,
            replies: vec![Reply::send(reply)],
            afterwards: Afterwards::Asked,
            pool: Pool::Empty,
            pace: Pace::Quick,
        }
    }
}
