package doctor

import (
	"context"
	"time"

	"postern/internal/store"
)

// StoreKind is where state is kept, which decides what to look at.
type StoreKind string

// The kinds of store.
const (
	Embedded StoreKind = "embedded"
	DynamoDB StoreKind = "dynamodb"
)

// Key says whether the encryption key opens what is stored: how many things
// it was tried on, and the error of the one that did not open.
type Key func(ctx context.Context) (opened int, err error)

// CheckStore says of each trial of a store what it means. key is asked where
// all is well; nil where there is no store to ask.
func CheckStore(ctx context.Context, kind StoreKind, trials []store.Trial, key Key) Check {
	w := newWalk("store " + string(kind))
	well := true
	for _, t := range trials {
		f := judgeTrial(kind, t)
		w.add(t.Name, t.Took, f)
		well = well && f.state == OK
	}
	switch {
	case !well:
		w.add("key", 0, skip("not reached: the store cannot be read"))
	case key == nil:
		w.add("key", 0, skip("there is nothing to open yet"))
	default:
		began := time.Now()
		f := judgeKey(key(ctx))
		w.add("key", time.Since(began), f)
	}
	return w.check
}

func judgeTrial(kind StoreKind, t store.Trial) finding {
	switch {
	case t.Fault == "":
		return fine(t.Detail)
	case t.Fault == store.FaultInUse:
		return warning(t.Detail, hintInUse)
	case kind == Embedded:
		return failure(t.Detail, embeddedHints[t.Fault])
	default:
		return failure(t.Detail, dynamoHints[t.Fault])
	}
}

func judgeKey(opened int, err error) finding {
	switch {
	case err != nil:
		return failure(err.Error(), "Put the key back with which the data was sealed: ENCRYPTION_KEY takes several, the newest first; "+
			"the embedded store's is in the key file in DATA_DIR, which belongs with the data.")
	case opened == 0:
		return skip("there is no letter in the store yet that it could open")
	default:
		return fine("opens the newest letter in the store")
	}
}

const hintInUse = "That is as it should be while the server runs: it alone has the file. Ask it: `server healthcheck`, GET /readyz. " +
	"Where it does not run, find what else has the file open."

var embeddedHints = map[store.Fault]string{
	store.FaultDenied: "DATA_DIR must be a directory that this user can write: check its owner and mode, and that the volume is not read-only.",
	store.FaultDamaged: "DATA_DIR must be the directory of a store of this version: use the version that wrote it, restore a backup, or " +
		"name another directory.",
	store.FaultUnreachable: "The file could not be read: check the volume.",
}

var dynamoHints = map[store.Fault]string{
	store.FaultUnresolved: "The name has no address here: check AWS_REGION (or DYNAMODB_ENDPOINT), and that DNS support is on in the VPC.",
	store.FaultUnreachable: "The network does not carry: check that the VPC has a gateway endpoint for DynamoDB, that the route table of " +
		"the task's subnets leads to it (a route to DynamoDB's prefix list), and that the task's security group allows outbound TCP 443 " +
		"to that prefix list. Where DYNAMODB_ENDPOINT is set, check that it runs.",
	store.FaultCredentials: "There are no AWS credentials that DynamoDB accepts: check the task role (on Fargate they come from it by " +
		"themselves), AWS_REGION, and this machine's clock.",
	store.FaultDenied: "The network is fine, and a policy refuses: compare the task role's policy and the policy of the DynamoDB VPC " +
		"endpoint with the tables and actions that are named. DynamoDB's words say which of them it was.",
	store.FaultMissing: "Check TABLE_PREFIX and AWS_REGION; make the tables with terraform apply, or for local use with CREATE_TABLES=true.",
	store.FaultDamaged: "A table of that name is there and is keyed in another way: check TABLE_PREFIX.",
	store.FaultBusy:    "DynamoDB answers and cannot do it now: look at its throttles and errors in CloudWatch, and try again.",
}
