# Each rule is shown a planted fault, in a module below a module, and catches
# it; and it is content with a sound stack.
package main

import rego.v1

sound_resources := {
	"aws_ecs_service.s": {"network_configuration": [{"assign_public_ip": false, "subnets": ["subnet-p"]}]},
	"aws_lb.l": {"internal": true, "subnets": ["subnet-p"]},
	"aws_route_table_association.a": {"subnet_id": "subnet-p", "route_table_id": "rtb-p"},
	"aws_route_table.t": {"id": "rtb-p", "route": []},
	"aws_route.r": {"route_table_id": "rtb-p", "nat_gateway_id": "nat-1", "gateway_id": ""},
	"aws_vpc_security_group_ingress_rule.i": {"referenced_security_group_id": "sg-1", "from_port": 8080, "to_port": 8080},
	"aws_vpc_security_group_egress_rule.e": {"cidr_ipv4": "10.20.0.25/32", "from_port": 587, "to_port": 587},
	"aws_security_group.g": {"ingress": [], "egress": []},
	"aws_vpc_endpoint.e": {"id": "vpce-1", "service_name": "com.amazonaws.r.logs", "subnet_ids": ["subnet-p"], "policy": `{"Statement": [{"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "arn:x"}]}`},
	"aws_api_gateway_rest_api.a": {"id": "api", "endpoint_configuration": [{"types": ["PRIVATE"]}]},
	"aws_api_gateway_rest_api_policy.p": {"rest_api_id": "api", "policy": `{"Statement": [{"Effect": "Deny", "Principal": "*", "Condition": {"StringNotEquals": {"aws:SourceVpce": ["vpce-1"]}}}]}`},
	"aws_cloudwatch_log_group.l": {"kms_key_id": "arn:k", "retention_in_days": 365},
	"aws_secretsmanager_secret.s": {"kms_key_id": "arn:k"},
	"aws_secretsmanager_secret_version.v": {"secret_string": null, "secret_string_wo": null, "secret_binary": null},
	"aws_sns_topic.t": {"kms_master_key_id": "arn:k"},
	"aws_dynamodb_table.t": {"server_side_encryption": [{"enabled": true, "kms_key_arn": "arn:k"}], "point_in_time_recovery": [{"enabled": true}]},
	"aws_ecr_repository.r": {"image_tag_mutability": "IMMUTABLE", "image_scanning_configuration": [{"scan_on_push": true}]},
	"aws_ecs_task_definition.t": {"container_definitions": json.marshal([sound_container])},
	"aws_iam_role_policy.p": {"policy": `{"Statement": [{"Effect": "Allow", "Action": ["dynamodb:GetItem"], "Resource": "arn:x"}, {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}]}`},
	"aws_instance.i": {"metadata_options": [{"http_tokens": "required"}], "root_block_device": [{"encrypted": true}]},
}

sound_container := {
	"name": "c", "user": "65532:65532", "readonlyRootFilesystem": true, "stopTimeout": 120,
	"linuxParameters": {"capabilities": {"drop": ["ALL"]}},
	"environment": [
		{"name": "SHUTDOWN_TIMEOUT", "value": "110s"},
		{"name": "SMTP_PASSWORD_REF", "value": "arn:aws-us-gov:secretsmanager:us-gov-west-1:1:secret:s"},
	],
}

# stack is a state with the resources in a module's module.
stack(by_address) := {"values": {"root_module": {"child_modules": [{"child_modules": [{"resources": [r |
	some address, values in by_address
	r := {"address": address, "type": split(address, ".")[0], "mode": "managed", "values": values}
]}]}]}}}

with_fault(address, patch) := stack(object.union(sound_resources, {address: object.union(object.get(sound_resources, address, {}), patch)}))

container_with(patch) := with_fault("aws_ecs_task_definition.t", {"container_definitions": json.marshal([object.union(sound_container, patch)])})

test_sound if count(deny) == 0 with input as stack(sound_resources)

test_nothing if deny["no resources were found: is this the JSON of an applied state?"] with input as {"values": {"root_module": {}}}

# By name: the state with the fault, and what has to be said of it.
planted := {
	"ingress from everywhere": [with_fault("aws_vpc_security_group_ingress_rule.i", {"cidr_ipv4": "0.0.0.0/0"}), "lets in the whole internet"],
	"ingress from everywhere by IPv6": [with_fault("aws_vpc_security_group_ingress_rule.i", {"cidr_ipv6": "::/0"}), "lets in the whole internet"],
	"a rule within a group": [with_fault("aws_security_group.g", {"ingress": [{"cidr_blocks": ["0.0.0.0/0"]}]}), "rules within a group"],
	"egress to everywhere": [with_fault("aws_vpc_security_group_egress_rule.e", {"cidr_ipv4": "0.0.0.0/0"}), "leads to the whole internet"],
	"HTTPS to everywhere by NAT": [stack(object.union(sound_resources, {"aws_nat_gateway.n": {}, "aws_vpc_security_group_egress_rule.e": {"cidr_ipv4": "0.0.0.0/0", "from_port": 443, "to_port": 443}})), "leads to the whole internet"],
	"a range of ports": [with_fault("aws_vpc_security_group_ingress_rule.i", {"to_port": 9090}), "opens a range of ports"],
	"port 25": [with_fault("aws_vpc_security_group_egress_rule.e", {"from_port": 25, "to_port": 25}), "port 25"],
	"a public address": [with_fault("aws_ecs_service.s", {"network_configuration": [{"assign_public_ip": true, "subnets": ["subnet-p"]}]}), "public addresses"],
	"a route to the internet": [with_fault("aws_route.r", {"gateway_id": "igw-1"}), "route to an internet gateway"],
	"a route within a table": [with_fault("aws_route_table.t", {"route": [{"gateway_id": "igw-1"}]}), "route to an internet gateway"],
	"no association": [with_fault("aws_route_table_association.a", {"subnet_id": "subnet-other"}), "no route table of a private subnet"],
	"a public load balancer": [with_fault("aws_lb.l", {"internal": false}), "is reached from outside"],
	"an endpoint without policy": [with_fault("aws_vpc_endpoint.e", {"policy": null}), "has no policy"],
	"an endpoint for any action": [with_fault("aws_vpc_endpoint.e", {"policy": `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "arn:x"}]}`}), "lets any action pass"],
	"an endpoint for everything": [with_fault("aws_vpc_endpoint.e", {"policy": `{"Statement": [{"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}]}`}), "lets everybody pass"],
	"an attached policy for any action": [stack(object.union(sound_resources, {"aws_vpc_endpoint_policy.p": {"vpc_endpoint_id": "vpce-1", "policy": `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "arn:x"}]}`}})), "lets any action pass"],
	"a regional API": [with_fault("aws_api_gateway_rest_api.a", {"endpoint_configuration": [{"types": ["REGIONAL"]}]}), "is not private"],
	"an API without policy": [with_fault("aws_api_gateway_rest_api_policy.p", {"rest_api_id": "other"}), "past the VPC endpoints"],
	"a policy that denies nobody": [with_fault("aws_api_gateway_rest_api_policy.p", {"policy": `{"Statement": [{"Effect": "Allow", "Principal": "*"}]}`}), "past the VPC endpoints"],
	"a log group without key": [with_fault("aws_cloudwatch_log_group.l", {"kms_key_id": ""}), "not encrypted with our key"],
	"a log group for ever": [with_fault("aws_cloudwatch_log_group.l", {"retention_in_days": 0}), "kept for ever"],
	"a secret without key": [with_fault("aws_secretsmanager_secret.s", {"kms_key_id": ""}), "not encrypted with our key"],
	"a topic without key": [with_fault("aws_sns_topic.t", {"kms_master_key_id": ""}), "not encrypted with our key"],
	"a table without key": [with_fault("aws_dynamodb_table.t", {"server_side_encryption": []}), "not encrypted with our key"],
	"a table without recovery": [with_fault("aws_dynamodb_table.t", {"point_in_time_recovery": [{"enabled": false}]}), "point-in-time recovery"],
	"mutable images": [with_fault("aws_ecr_repository.r", {"image_tag_mutability": "MUTABLE"}), "images can be replaced"],
	"a secret in the state": [with_fault("aws_secretsmanager_secret_version.v", {"secret_string": "x"}), "the secret is in the state"],
	"a writable root": [container_with({"readonlyRootFilesystem": false}), "may write to its root"],
	"root": [container_with({"user": "root"}), "runs as root"],
	"capabilities": [container_with({"linuxParameters": {"capabilities": {"drop": ["NET_RAW"]}}}), "keeps capabilities"],
	"a secret in the place of a reference": [container_with({"environment": [{"name": "SMTP_PASSWORD_REF", "value": "x"}]}), "secret in its environment"],
	"a secret in the environment": [container_with({"environment": [{"name": "SMTP_PASSWORD", "value": "x"}]}), "secret in its environment"],
	"killed before it is done": [container_with({"stopTimeout": 30}), "stopped before it is done"],
	"longer than Fargate waits": [container_with({"stopTimeout": 300}), "stopped before it is done"],
	"a role for everything": [with_fault("aws_iam_role_policy.p", {"policy": `{"Statement": [{"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "*"}]}`}), "on everything"],
	"a role with a pattern": [with_fault("aws_iam_role_policy.p", {"policy": `{"Statement": [{"Effect": "Allow", "Action": "dynamodb:*", "Resource": "arn:x"}]}`}), "by a pattern"],
	"IMDSv1": [with_fault("aws_instance.i", {"metadata_options": [{"http_tokens": "optional"}]}), "IMDSv1"],
}

caught(fault) if {
	messages := deny with input as fault[0]
	some message in messages
	contains(message, fault[1])
}

missed contains name if {
	some name, fault in planted
	not caught(fault)
}

test_every_planted_fault_is_caught if {
	print("missed:", missed)
	count(missed) == 0
}

test_there_are_planted_faults if count(planted) >= 36
