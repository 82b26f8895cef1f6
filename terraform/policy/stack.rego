# What must hold of the stack as it stands, whatever module a resource is in.
# The input is `terraform show -json` of an applied state, where every value is
# known; terraform/e2e/run applies it to a stand-in for AWS first.
package main

import rego.v1

# Every resource of every module, however deep. Without the walk the rules
# would see an empty root module, and pass.
resources contains resource if {
	walk(input.values.root_module, [path, resource])
	count(path) > 1
	path[count(path) - 2] == "resources"
	resource.mode == "managed"
}

of(type) := {r | some r in resources; r.type == type}

everywhere := {"0.0.0.0/0", "::/0"}

# The policies themselves are faulty when they see nothing.
deny contains "no resources were found: is this the JSON of an applied state?" if count(resources) == 0

deny contains sprintf("%s: lets in the whole internet", [r.address]) if {
	some r in of("aws_vpc_security_group_ingress_rule")
	everywhere[object.get(r.values, ["cidr_ipv4", "cidr_ipv6"][_], "")]
}

deny contains sprintf("%s: rules within a group are not looked at; give each its own resource", [r.address]) if {
	some r in of("aws_security_group")
	some way in ["ingress", "egress"]
	some rule in r.values[way]
	everywhere[rule.cidr_blocks[_]]
}

# The client's HTTPS is a way out by design. Mail to everywhere is one only on
# mail ports, where NAT was asked for.
deny contains sprintf("%s: leads to the whole internet", [r.address]) if {
	some r in of("aws_vpc_security_group_egress_rule")
	everywhere[object.get(r.values, ["cidr_ipv4", "cidr_ipv6"][_], "")]
	not client_https(r)
	not mail_by_nat(r)
}

client_https(r) if {
	contains(r.address, "module.client[0].")
	r.values.from_port == 443
	r.values.to_port == 443
}

mail_by_nat(r) if {
	count(of("aws_nat_gateway")) > 0
	r.values.from_port == r.values.to_port
	r.values.from_port in {465, 587, 2465, 2525, 2587}
}

deny contains sprintf("%s: opens a range of ports", [r.address]) if {
	some type in ["aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule"]
	some r in of(type)
	r.values.from_port != r.values.to_port
}

deny contains sprintf("%s: port 25", [r.address]) if {
	some r in of("aws_vpc_security_group_egress_rule")
	r.values.from_port == 25
}

deny contains sprintf("%s: tasks have public addresses", [r.address]) if {
	some r in of("aws_ecs_service")
	r.values.network_configuration[_].assign_public_ip
}

# Where tasks, load balancer and endpoints are, no route leads to an internet
# gateway.
inside contains subnet if {
	some r in of("aws_ecs_service")
	subnet := r.values.network_configuration[_].subnets[_]
}

inside contains subnet if {
	some type in ["aws_lb", "aws_vpc_endpoint"]
	some r in of(type)
	subnet := object.get(r.values, ["subnets", "subnet_ids"][_], [])[_]
}

inside_tables contains table if {
	some r in of("aws_route_table_association")
	inside[r.values.subnet_id]
	table := r.values.route_table_id
}

deny contains "no route table of a private subnet was found" if {
	count(resources) > 0
	count(inside_tables) == 0
}

deny contains sprintf("%s: a private subnet has a route to an internet gateway", [r.address]) if {
	some r in of("aws_route")
	inside_tables[r.values.route_table_id]
	startswith(object.get(r.values, "gateway_id", ""), "igw-")
}

deny contains sprintf("%s: a private subnet has a route to an internet gateway", [r.address]) if {
	some r in of("aws_route_table")
	inside_tables[r.values.id]
	startswith(r.values.route[_].gateway_id, "igw-")
}

deny contains sprintf("%s: is reached from outside", [r.address]) if {
	some r in of("aws_lb")
	not r.values.internal
}

# Of every endpoint the policy as it is in force, its own or the one attached.
in_force(endpoint) := policy if {
	some p in of("aws_vpc_endpoint_policy")
	p.values.vpc_endpoint_id == endpoint.values.id
	policy := json.unmarshal(p.values.policy)
} else := json.unmarshal(endpoint.values.policy)

# SES's SMTP endpoint speaks SMTP, of which an endpoint policy knows nothing.
speaks_smtp(endpoint) if endswith(endpoint.values.service_name, ".email-smtp")

deny contains sprintf("%s: has no policy", [r.address]) if {
	some r in of("aws_vpc_endpoint")
	not speaks_smtp(r)
	not in_force(r)
}

deny contains sprintf("%s: its policy lets any action pass", [r.address]) if {
	some r in of("aws_vpc_endpoint")
	not speaks_smtp(r)
	some s in in_force(r).Statement
	s.Effect == "Allow"
	contains(list(s.Action)[_], "*")
}

deny contains sprintf("%s: its policy lets everybody pass to everything", [r.address]) if {
	some r in of("aws_vpc_endpoint")
	not speaks_smtp(r)
	some s in in_force(r).Statement
	s.Effect == "Allow"
	"*" in list(s.Resource)
	not s.Condition
}

list(x) := x if is_array(x)

list(x) := [x] if not is_array(x)

# The API: private, and only through VPC endpoints.
deny contains sprintf("%s: is not private", [r.address]) if {
	some r in of("aws_api_gateway_rest_api")
	r.values.endpoint_configuration[_].types != ["PRIVATE"]
}

deny contains sprintf("%s: may be called past the VPC endpoints", [r.address]) if {
	some r in of("aws_api_gateway_rest_api")
	not guarded(r)
}

guarded(api) if {
	some p in of("aws_api_gateway_rest_api_policy")
	p.values.rest_api_id == api.values.id
	some s in json.unmarshal(p.values.policy).Statement
	s.Effect == "Deny"
	s.Principal == "*"
	count(s.Condition.StringNotEquals["aws:SourceVpce"]) > 0
}

# What rests is encrypted with a key of ours, and can be had back.
deny contains sprintf("%s: is not encrypted with our key", [r.address]) if {
	some type, attribute in {
		"aws_cloudwatch_log_group": "kms_key_id",
		"aws_secretsmanager_secret": "kms_key_id",
		"aws_sns_topic": "kms_master_key_id",
	}
	some r in of(type)
	not startswith(object.get(r.values, attribute, ""), "arn:")
}

deny contains sprintf("%s: is kept for ever", [r.address]) if {
	some r in of("aws_cloudwatch_log_group")
	object.get(r.values, "retention_in_days", 0) == 0
}

deny contains sprintf("%s: is not encrypted with our key", [r.address]) if {
	some r in of("aws_dynamodb_table")
	not encrypted(r)
}

encrypted(table) if {
	some sse in table.values.server_side_encryption
	sse.enabled
	startswith(sse.kms_key_arn, "arn:")
}

deny contains sprintf("%s: has no point-in-time recovery", [r.address]) if {
	some r in of("aws_dynamodb_table")
	not r.values.point_in_time_recovery[0].enabled
}

deny contains sprintf("%s: images can be replaced, or are not scanned", [r.address]) if {
	some r in of("aws_ecr_repository")
	not sound(r)
}

sound(repository) if {
	repository.values.image_tag_mutability == "IMMUTABLE"
	repository.values.image_scanning_configuration[0].scan_on_push
}

# Secrets are in Secrets Manager and nowhere else.
deny contains sprintf("%s: the secret is in the state", [r.address]) if {
	some r in of("aws_secretsmanager_secret_version")
	not object.get(r.values, ["secret_string", "secret_string_wo", "secret_binary"][_], null) in {null, ""}
}

# The container.
containers contains {"address": r.address, "is": container} if {
	some r in of("aws_ecs_task_definition")
	some container in json.unmarshal(r.values.container_definitions)
}

deny contains sprintf("%s: %s may write to its root file system", [c.address, c.is.name]) if {
	some c in containers
	not c.is.readonlyRootFilesystem
}

deny contains sprintf("%s: %s runs as root, or says not as whom", [c.address, c.is.name]) if {
	some c in containers
	object.get(c.is, "user", "0") in {"0", "root", "0:0"}
}

deny contains sprintf("%s: %s keeps capabilities", [c.address, c.is.name]) if {
	some c in containers
	object.get(c.is, ["linuxParameters", "capabilities", "drop"], []) != ["ALL"]
}

deny contains sprintf("%s: %s has a secret in its environment", [c.address, c.is.name]) if {
	some c in containers
	some e in c.is.environment
	regex.match(`PASSWORD|SECRET|TOKEN|_KEY$`, e.name)
	not is_reference(e)
}

# is_reference: the value names a secret that the task reads itself.
is_reference(e) if {
	endswith(e.name, "_REF")
	regex.match(`^arn:[a-z-]+:secretsmanager:`, e.value)
}

deny contains sprintf("%s: %s is stopped before it is done, or later than Fargate waits", [c.address, c.is.name]) if {
	some c in containers
	not drains(c.is)
}

drains(container) if {
	container.stopTimeout <= 120
	some e in container.environment
	e.name == "SHUTDOWN_TIMEOUT"
	to_number(trim_suffix(e.value, "s")) < container.stopTimeout
}

# Roles.
deny contains sprintf("%s: allows %s on everything", [r.address, action]) if {
	some r in of("aws_iam_role_policy")
	some s in json.unmarshal(r.values.policy).Statement
	s.Effect == "Allow"
	"*" in list(s.Resource)
	some action in list(s.Action)
	action != "ecr:GetAuthorizationToken" # knows no resources
}

deny contains sprintf("%s: allows actions by a pattern", [r.address]) if {
	some r in of("aws_iam_role_policy")
	some s in json.unmarshal(r.values.policy).Statement
	contains(list(s.Action)[_], "*")
}

deny contains sprintf("%s: takes IMDSv1, or its disk is not encrypted", [r.address]) if {
	some r in of("aws_instance")
	not careful(r)
}

careful(instance) if {
	instance.values.metadata_options[0].http_tokens == "required"
	instance.values.root_block_device[0].encrypted
}
