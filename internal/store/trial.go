package store

import "time"

// Trial is one thing that an implementation needs of its surroundings, as it
// was tried without changing anything: for a diagnosis.
type Trial struct {
	Name string // what was tried, such as "table EmailWork"
	Took time.Duration
	// Detail is what was found, for people.
	Detail string
	// Fault is "" where it works.
	Fault Fault
}

// Fault is what kind of thing is wrong, and so who can mend it.
type Fault string

// The kinds of fault.
const (
	FaultUnresolved  Fault = "unresolved"  // the server's name has no address
	FaultUnreachable Fault = "unreachable" // the network does not carry
	FaultCredentials Fault = "credentials" // there are none, or they are not accepted
	FaultDenied      Fault = "denied"      // a policy does not allow it
	FaultMissing     Fault = "missing"     // a table or a directory is not there
	FaultDamaged     Fault = "damaged"     // what is there is not Postern's, or of another version
	FaultInUse       Fault = "in use"      // another process has it open
	FaultBusy        Fault = "busy"        // throttled, or failing inside
)
